//! `runner results`: the studies below a folder, and how far they are.

use super::summary::{aligned, figure};
use super::{Exit, fail, print};
use crate::store::manifest::{Manifest, StudyStatus};
use crate::store::record::Record;
use crate::store::{self, StoreError, journal, lock, ranking, tables};
use clap::Args;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Options of `runner results`.
#[derive(Args)]
pub struct ResultsArgs {
    /// A result folder, or one that holds some
    #[arg(default_value = "results")]
    dir: PathBuf,
}

/// Folders below the given one that are looked into.
const DEPTH: usize = 3;

/// Lists the studies of a folder.
pub fn results(args: &ResultsArgs) -> Exit {
    let mut folders = Vec::new();
    find(&args.dir, DEPTH, &mut folders);
    if folders.is_empty() {
        let text = format!("{} holds no results", args.dir.display());
        return fail(text, Some("`runner results DIR` lists the studies below DIR"), Exit::Request);
    }
    let heading = ["folder", "state", "completed", "failed", "planned", "best so far", "started"];
    let mut lines = vec![heading.map(String::from).to_vec()];
    // A folder that cannot be read keeps nobody from those that can.
    let mut exit = Exit::Fine;
    for folder in &folders {
        match line(folder) {
            Ok(line) => lines.extend(line),
            Err(error) => exit = fail(error, None, Exit::Request),
        }
    }
    if lines.len() > 1 {
        print(&aligned(&lines));
    }
    exit
}

fn find(dir: &Path, depth: usize, folders: &mut Vec<PathBuf>) {
    if dir.join("manifest.json").exists() {
        folders.push(dir.to_path_buf());
    } else if depth > 0 {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        let mut below: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        below.sort();
        below.iter().for_each(|path| find(path, depth - 1, folders));
    }
}

/// Trials of a study that ended.
pub struct Ended {
    /// Those that completed.
    pub completed: usize,
    /// The others.
    pub failed: usize,
}

/// Counts the trials that ended and were asked for, in tables and journals. Nothing is locked, so that a study that is
/// running goes on.
pub fn ended(dir: &Path, manifest: &Manifest) -> Result<Ended, StoreError> {
    let asked = ranking::Requested::new(manifest);
    let mut keys = tables::keys(dir)?;
    keys.extend(journal::read(dir)?.records.iter().map(Record::key));
    // While a study goes on its manifest says what it began with.
    let counted = keys
        .into_iter()
        .filter(|key| manifest.status == StudyStatus::Running || asked.of(&key.config, key.seed).is_some());
    let ended: HashMap<String, bool> = counted.map(|key| (key.trial, key.completed)).collect();
    let completed = ended.values().filter(|completed| **completed).count();
    Ok(Ended { completed, failed: ended.len() - completed })
}

/// A line of the list.
fn line(dir: &Path) -> Result<Option<Vec<String>>, StoreError> {
    let Some(manifest) = store::read_manifest(dir)? else { return Ok(None) };
    let Ended { completed, failed } = ended(dir, &manifest)?;
    Ok(Some(vec![
        dir.display().to_string(),
        state(dir, &manifest),
        completed.to_string(),
        failed.to_string(),
        manifest.planned.to_string(),
        best(dir, &manifest)?,
        manifest.started.clone(),
    ]))
}

fn state(dir: &Path, manifest: &Manifest) -> String {
    match (lock::holder(dir), manifest.status) {
        (Some(holder), _) => format!("running ({} on {})", holder.pid, holder.host),
        // Its process was killed, or could not go on.
        (None, StudyStatus::Running) => "unfinished".into(),
        (None, StudyStatus::Finished) => "finished".into(),
        (None, StudyStatus::Interrupted) => "interrupted".into(),
    }
}

/// The best configuration's median of the objective, as far as the tables go.
fn best(dir: &Path, manifest: &Manifest) -> Result<String, StoreError> {
    let ranked = ranking::rank(&tables::summary(dir, manifest)?, manifest);
    let column = manifest.metrics.iter().position(|metric| metric.name == manifest.objective.name);
    let median = ranked.first().and_then(|first| first.medians.get(column.map_or(0, |i| i + 1)).copied().flatten());
    let best = if manifest.objective.maximize { "highest" } else { "lowest" };
    let said = |median| format!("{best} median {}: {}", manifest.objective.name, figure(Some(median)));
    Ok(median.map_or("-".into(), said))
}
