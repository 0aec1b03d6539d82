//! Files that a folder should have and has not: somebody removed them, or restored earlier ones.

use super::columns::StoredTable;
use super::manifest::{Manifest, StudyStatus};
use super::{FILES, PAGE, PLOTS, Store, StoreError, manifest_of, parquet};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// The table without which no trial is known.
const TRIALS: &str = "trials.parquet";

/// The history, in which every trial that completed has rows.
const HISTORY: &str = "history.parquet";

/// The tables of a folder.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().filter(|name| name.ends_with(".parquet"))
}

/// The tables that a manifest lists and that are not there, where its run had written tables. Folders of earlier versions
/// lack some, and do not list them.
pub(super) fn of(dir: &Path, manifest: &Manifest) -> Vec<&'static str> {
    let is_there = |name: &str| dir.join(name).exists();
    if manifest.status == StudyStatus::Running && !is_there(TRIALS) {
        return Vec::new();
    }
    let is_listed = |name: &&str| manifest.files.iter().any(|file| file == name);
    tables().filter(is_listed).filter(|name| !is_there(name)).collect()
}

/// The manifest of a folder that has these tables, as far as it lists them.
///
/// # Errors
/// Where there is none, or one of these tables was lost.
pub fn manifest_with(dir: &Path, tables: &[&str]) -> Result<Manifest, StoreError> {
    let manifest = manifest_of(dir)?;
    match of(dir, &manifest).into_iter().find(|table| tables.contains(table)) {
        None => Ok(manifest),
        Some(table) => Err(StoreError::Lost { path: dir.join(table), command: manifest.command }),
    }
}

/// Whether a folder has all tables, whole as far as their ends tell, the page, and the figures that a manifest lists.
pub(super) fn nothing(dir: &Path, manifest: &Manifest) -> bool {
    let is_figure = |name: &&str| name.strip_prefix(PLOTS).is_some_and(|rest| rest.starts_with('/'));
    let figures = manifest.files.iter().map(String::as_str).filter(is_figure);
    let is_there = |name: &str| fs::metadata(dir.join(name)).is_ok_and(|meta| meta.is_file() && meta.len() > 0);
    let readable = || {
        tables().all(|name| crate::spec::source::open(&dir.join(name)).is_ok_and(|file| parquet::rows(file).is_some()))
    };
    FILES.into_iter().chain([PAGE]).chain(figures).all(is_there) && readable()
}

impl Store {
    /// Whether earlier runs wrote a table that is not there.
    pub fn has_lost(&self, table: &str) -> bool {
        self.lost.contains(&table)
    }

    /// Tables that earlier runs wrote and that are not there.
    pub fn lost(&self) -> &[&'static str] {
        &self.lost
    }

    /// The trials of the tables with whether they completed; not those of which the journal has a record, which is whole.
    pub fn tabled(&self) -> HashMap<&str, bool> {
        let newer: HashSet<&str> = self.records.iter().map(|record| record.trial.as_str()).collect();
        let stored = self.stored.iter().filter(|key| !newer.contains(key.trial.as_str()));
        stored.map(|key| (key.trial.as_str(), key.completed)).collect()
    }

    /// The trials of the tables that should have rows in the history and have none.
    pub fn without_history(&self) -> Result<HashSet<&str>, StoreError> {
        let history = StoredTable::read(&self.dir, HISTORY, Some(&["trial"]))?;
        let runs = if history.is_empty() { Vec::new() } else { history.runs("trial", usize::MAX)? };
        let there: HashSet<String> = runs.into_iter().map(|(id, _)| id).collect();
        // One that failed may have none.
        let should = |(id, completed): &(&str, bool)| (*completed || self.has_lost(HISTORY)) && !there.contains(*id);
        Ok(self.tabled().into_iter().filter(should).map(|(id, _)| id).collect())
    }
}
