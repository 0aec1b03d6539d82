//! The weights that a folder keeps: which of them a request asks for, whether they are whole, and what goes where only
//! the best stay.

use super::files::{is_file, remove, replace_durably};
use super::manifest::{Manifest, StudyStatus};
use super::{Store, StoreError, SummaryRow, Weights, is_named, listed, ranking, weights_file};
use crate::spec::Save;
use crate::spec::source::open;
use safetensors::tensor::Metadata;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Of some trials those whose weights are asked for: all that completed, or the best of them.
pub fn asked_for<'a>(
    save: Save,
    rows: impl IntoIterator<Item = &'a SummaryRow>,
    manifest: &Manifest,
) -> Vec<&'a SummaryRow> {
    match save {
        Save::All => rows.into_iter().filter(|row| row.error.is_none()).collect(),
        Save::Best => ranking::best(rows, manifest).into_iter().collect(),
        Save::None => Vec::new(),
    }
}

/// The trials of a folder whose weights it has once its run has ended, if it saves them.
pub fn promised<'a>(save: Save, rows: &'a [SummaryRow], manifest: &Manifest) -> Vec<&'a SummaryRow> {
    let ended = match save {
        Save::All => manifest.status != StudyStatus::Running,
        Save::Best => manifest.status == StudyStatus::Finished,
        Save::None => false,
    };
    let weighed = if ended { manifest.weighed() } else { HashSet::new() };
    asked_for(save, rows.iter().filter(|row| weighed.contains(&row.trial)), manifest)
}

/// Whether the weights of a trial are in a folder, as long as their header says.
pub fn are_whole(dir: &Path, trial: &str) -> bool {
    let whole = || -> std::io::Result<bool> {
        let mut file = open(&dir.join(weights_file(trial)))?;
        let bytes = file.metadata()?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > bytes {
            return Ok(false);
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header)?;
        let header: Option<Metadata> = serde_json::from_slice(&header).ok();
        Ok(header.is_some_and(|header| 8 + length + header.data_len() as u64 == bytes))
    };
    whole().unwrap_or(false)
}

/// The files of weights in a folder that its manifest speaks of; any other is a stranger's, whatever its name.
pub(super) fn of_folder(dir: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, StoreError> {
    let weighed = manifest.weighed();
    let mut files = listed(&dir.join("weights"))?;
    let id = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_string();
    files.retain(|path| is_named(path, "safetensors") && weighed.contains(&id(path)));
    Ok(files)
}

impl Store {
    /// The trials of the journal whose weights were stored with their records, and looked at when the folder was opened.
    pub fn with_weights(&self) -> HashSet<&str> {
        let stored = self.records.iter().filter(|record| record.weights_bytes.is_some());
        stored.map(|record| record.trial.as_str()).collect()
    }

    /// Stores the weights of a trial whose record is there. The disk has them when this returns.
    pub fn add_weights(&self, trial: &str, weights: &Weights) -> Result<(), StoreError> {
        let file = self.dir.join(weights_file(trial));
        let bytes = weights.to_safetensors(&file)?;
        replace_durably(&file, |to| to.write_all(&bytes))
    }

    /// Deletes the weights that the manifest lists, but those of the best of some trials, and of the best of all that the
    /// folder has. Nothing is deleted before the first are there.
    pub fn keep_best_weights(&self, asked: &[SummaryRow], manifest: &Manifest) -> Result<(), StoreError> {
        let Some(best) = ranking::best(asked, manifest).filter(|best| are_whole(&self.dir, &best.trial)) else {
            return Ok(());
        };
        let rows = self.rows(Some(manifest))?;
        let best_of_all = ranking::best(&rows, manifest).unwrap_or(best);
        let stay = [&best.trial, &best_of_all.trial].map(|trial| self.dir.join(weights_file(trial)));
        let surplus = of_folder(&self.dir, manifest)?.into_iter().filter(|path| is_file(path) && !stay.contains(path));
        surplus.into_iter().try_for_each(|path| remove(&path))
    }
}
