//! What a folder had when its manifest was written and has not any more, as far as what is left tells.
//!
//! Rows count: as many as were written must be there. Which trial lacks them follows from the other tables. While a run
//! goes on, or was killed, tables may be ahead of the manifest, and only what no moment lacks is missed.

use super::agreement::StoredResults;
use super::manifest::{Manifest, StudyStatus};
use super::tables::{HISTORY, LAYERS, TRACED_TRIALS, TRACES, TRIALS};
use super::{SummaryRow, weights_file};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A table has another number of rows than were written.
    #[error("{file} has {there} rows, and {written} were written")]
    Rows {
        /// The table's file.
        file: &'static str,
        /// Rows that it has.
        there: usize,
        /// Rows that it had.
        written: usize,
    },
    /// A table has no row of a trial.
    #[error("{file} has no row of trial {trial}")]
    Trial {
        /// The table's file.
        file: &'static str,
        /// The trial.
        trial: String,
    },
    /// Another table has rows of a trial that the table of trials has not.
    #[error("{TRIALS} has no row of trial {trial}, and {other} has")]
    Unlisted {
        /// The trial.
        trial: String,
        /// The file of a table that has rows of it.
        other: &'static str,
    },
    /// A file of weights.
    #[error("{0} is missing")]
    Weights(String),
}

/// What a folder with these trials lacks of its tables.
pub fn rows(stored: &StoredResults, rows: &[SummaryRow], manifest: &Manifest) -> Vec<Missing> {
    let ended = manifest.status != StudyStatus::Running;
    let known: HashSet<&str> = rows.iter().map(|row| row.trial.as_str()).collect();
    let mut missing = Vec::new();
    let mut unlisted: BTreeMap<&str, &'static str> = BTreeMap::new();
    for (file, there, of) in stored.tabled() {
        let written = manifest.rows.get(file).copied().filter(|written| ended && *written != there);
        missing.extend(written.map(|written| Missing::Rows { file, there, written }));
        let fewer = written.is_some_and(|written| there < written);
        let lacks = |row: &&SummaryRow| !of.contains(row.trial.as_str());
        let whose = should_have(file, rows, fewer).into_iter().filter(lacks);
        missing.extend(whose.map(|row| Missing::Trial { file, trial: row.trial.clone() }));
        let others = of.into_iter().filter(|trial| ended && !known.contains(trial));
        unlisted.extend(others.map(|trial| (trial, file)));
    }
    let unlisted = unlisted.into_iter();
    missing.extend(unlisted.map(|(trial, other)| Missing::Unlisted { trial: trial.into(), other }));
    missing
}

/// The trials that should have rows in a table, `fewer` of which are there than were written. Every trial that was
/// trained has a history; which of the others' rows were lost is told where some were.
fn should_have<'a>(file: &str, rows: &'a [SummaryRow], fewer: bool) -> Vec<&'a SummaryRow> {
    let most = match file {
        HISTORY => rows.len(),
        TRACES if fewer => TRACED_TRIALS,
        LAYERS if fewer => 1,
        _ => 0,
    };
    let completed = rows.iter().filter(|row| row.error.is_none());
    completed.filter(|row| file != HISTORY || row.iterations > 0).take(most).collect()
}

/// The weights that a folder should have and has not, of the trials that these are promised of.
pub fn weights(dir: &Path, promised: &HashSet<&str>) -> Vec<Missing> {
    let mut files: Vec<String> = promised.iter().map(|trial| weights_file(trial)).collect();
    files.sort();
    files.into_iter().filter(|file| !dir.join(file).exists()).map(Missing::Weights).collect()
}
