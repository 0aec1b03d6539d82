//! Why a run refuses a folder, and what is to be done.

use super::{Exit, fail, full};
use crate::registry::Registry;
use crate::store::{StoreError, manifest_of};
use crate::study::Plan;
use crate::study::differences::differences;
use std::path::Path;

/// Differences that are listed.
const DIFFERENCES: usize = 6;

/// Refuses a folder of another experiment, and says in what that is another one.
pub fn refuse_other(dir: &Path, plan: &Plan, registry: &Registry) -> Exit {
    let found = manifest_of(dir).map_or(Vec::new(), |manifest| differences(&manifest, plan, registry));
    let more = found.len().saturating_sub(DIFFERENCES);
    let mut lines: Vec<String> = found.into_iter().take(DIFFERENCES).collect();
    lines.extend((more > 0).then(|| format!("and {more} more")));
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    refuse_folder_with(&StoreError::OtherExperiment(dir.into()), &lines)
}

/// Refuses a folder that cannot be written to, or holds something else.
pub fn refuse_folder(error: &StoreError) -> Exit {
    refuse_folder_with(error, "")
}

/// Refuses a folder; `more` stands between what is wrong and what helps.
fn refuse_folder_with(error: &StoreError, more: &str) -> Exit {
    if let Some(exit) = full(error) {
        return exit;
    }
    let help = match error {
        StoreError::OtherExperiment(_) => {
            Some("`--out DIR` keeps both; `--fresh` deletes what is there and begins anew")
        }
        StoreError::Unnamed(_) => Some("put manifest.json back, or `--out DIR` names another folder"),
        StoreError::Foreign(_) => Some("`--out DIR` names another folder"),
        StoreError::Outside { .. } | StoreError::NotOurs { .. } => {
            Some("remove it, or `--out DIR` names another folder; nothing was changed")
        }
        StoreError::InUse { .. } => Some("wait for it to end, or use `--out DIR`"),
        StoreError::Io { .. } => Some("`--out DIR` names a folder that can be written"),
        StoreError::Table { .. } | StoreError::Column { .. } => {
            Some("remove the file, and the same command makes it again; or `--out DIR` names another folder")
        }
        StoreError::Manifest { .. } | StoreError::Lost { .. } | StoreError::NoResults(_) => {
            Some("`--out DIR` names another folder; `--fresh` needs a manifest that can be read")
        }
    };
    fail(format!("{error}{more}"), help, Exit::Request)
}
