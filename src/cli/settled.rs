//! A study that is finished: what is asked for is what its folder was asked for last, and all of it is there. Then
//! there is nothing to plan, which takes long for a hundred thousand configurations, and nothing to write.

use super::summary::{Printing, summarise};
use super::{Exit, complain};
use crate::registry::Registry;
use crate::spec::Spec;
use crate::spec::diagnostic::Diagnostics;
use crate::spec::source::Sources;
use crate::store::manifest::Manifest;
use crate::store::{SummaryRow, settled};
use crate::study::Executor;
use crate::study::configuration::content_of;
use crate::study::identity;
use crate::study::runs::Runs;
use crate::tensor::DeviceName;
use std::path::{Path, PathBuf};

/// A request whose trials have all ended.
pub struct Settled {
    /// The experiment.
    pub file: PathBuf,
    /// The result folder.
    pub out: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its trials.
    pub rows: Vec<SummaryRow>,
}

/// Manifest and trials of a folder that has all that is asked for. What cannot be read is left to be reported by
/// those who open it.
pub fn find(
    out: &Path,
    spec: &Spec,
    registry: &Registry,
    sources: &Sources,
    (executor, device): (Executor, DeviceName),
) -> Result<Option<(Manifest, Vec<SummaryRow>)>, Diagnostics> {
    let runs = Runs { executor, device };
    let content = content_of(spec, registry, sources)?;
    let Some(request) = identity::request(spec, content, registry, runs) else { return Ok(None) };
    Ok(settled(out, &request, spec.save).ok().flatten())
}

/// What is said of a study that has nothing to do.
pub fn closing(out: &Path) -> String {
    format!("nothing to do; the report is {}\n", out.join("report.html").display())
}

impl Settled {
    /// Prints what is there.
    pub fn say(&self, how: Printing) -> Exit {
        if how != Printing::Quiet {
            let (out, n) = (self.out.display(), self.manifest.planned);
            complain(&format!("{out}: {n} of {n} trials are there already\n"));
        }
        summarise(&self.rows, &self.manifest, how, false, &closing(&self.out))
    }
}
