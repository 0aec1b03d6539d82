//! The result folder: tables (Parquet), weights (safetensors), the manifest, and the journal of a run.
//!
//! Every file appears by atomic rename: weights when their trial ends, then the trial's record in the journal; tables
//! when the run ends, `trials.parquet` last, then page and manifest, after which the journal goes. Whatever the moment
//! at which the process is killed, what had finished is found again, and the same run makes what is left to be made.
//! Readers take no lock.

pub mod agreement;
pub mod checkpoint;
pub mod columns;
pub mod environment;
pub mod export;
pub mod files;
mod frames;
pub mod journal;
pub mod kept;
pub mod lock;
pub mod lost;
pub mod manifest;
pub mod missing;
pub mod parquet;
pub mod ranking;
pub mod record;
pub mod tables;
pub mod weighed;

use crate::data::scale::Scale;
use crate::spec::Save;
use crate::spec::source::{MAX_MANIFEST, read_plain};
pub use files::replace;
use files::{
    check_inside, check_no_folder, create_folder, create_inside, is_file, is_id, is_temporary, remove,
    remove_left_behind, replace_durably,
};
pub use frames::Columns;
use journal::Damage;
use lock::{Holder, LOCK, Lock};
use manifest::{Manifest, StudyStatus};
use rayon::prelude::*;
use record::{Record, TrialKey};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tables::Tables;

/// Why results could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A table cannot be read or made.
    #[error("{}: {error}", dir.display())]
    Table {
        /// The folder or file.
        dir: PathBuf,
        /// Why.
        error: String,
    },
    /// A column of a table is not what it has to be.
    #[error("{}: {error}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: columns::ColumnError,
    },
    /// The folder is not empty, and no manifest of ours lies in it.
    #[error("{} is not a result folder, and it is not empty", .0.display())]
    Foreign(PathBuf),
    /// A folder of the result folder is a link.
    #[error("{}: `{}` leads out of the folder", dir.display(), name.escape_debug())]
    Outside {
        /// The folder.
        dir: PathBuf,
        /// What is a link.
        name: String,
    },
    /// Something has the name of one of our files or folders, and is something else.
    #[error("{}: `{}` is not what the program keeps under that name", dir.display(), name.escape_debug())]
    NotOurs {
        /// The folder.
        dir: PathBuf,
        /// What is of another kind.
        name: String,
    },
    /// A manifest or journal cannot be understood.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// A table is not there, and its manifest lists it.
    #[error("{} is not there; `{command}` makes it again", path.display())]
    Lost {
        /// The table.
        path: PathBuf,
        /// The command that made it.
        command: String,
    },
    /// There are tables, and no manifest that says of what.
    #[error("{} has results, but no manifest.json that says of which experiment", .0.display())]
    Unnamed(PathBuf),
    /// There is no manifest, where one is needed.
    #[error("{} is not a result folder: it has no manifest.json", .0.display())]
    NoResults(PathBuf),
    /// The folder holds results of something else.
    #[error("{} holds results of another experiment", .0.display())]
    OtherExperiment(PathBuf),
    /// Another process writes to the folder.
    #[error("{} is in use by {}", dir.display(), holder.as_ref().map_or("another run".into(), Holder::to_string))]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Which process, if it could be told.
        holder: Option<Holder>,
    },
}

/// Files of every result folder beside weights, journals, plots and the report.
pub const FILES: [&str; 6] =
    ["manifest.json", "trials.parquet", "history.parquet", "traces.parquet", "layers.parquet", "baselines.parquet"];

/// Folders that may be there before the first manifest is.
const FOLDERS: [&str; 3] = [journal::FOLDER, "weights", checkpoint::FOLDER];

/// The page that shows a folder's results.
pub const PAGE: &str = "report.html";

/// The folder of figures.
pub const PLOTS: &str = "plots";

/// A result folder that this process writes to.
pub struct Store {
    dir: PathBuf,
    sync: Sync,
    writer: Option<journal::Writer>,
    /// What the tables have.
    stored: Vec<TrialKey>,
    /// What the journals have beside these, or instead of them.
    records: Vec<Record>,
    /// Journals of earlier runs.
    journals: Vec<PathBuf>,
    /// Tables that earlier runs wrote and that are not there.
    lost: Vec<&'static str>,
    /// What earlier runs left, if there were any.
    pub earlier: Option<Manifest>,
    /// What was found damaged or left behind when the folder was opened.
    pub notes: Vec<Note>,
    _lock: Lock,
}

/// Something that a user should know of a folder that was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// A process ended without giving the folder back.
    #[error("{0} ended without closing the folder; what it had finished is kept")]
    TakenOver(Holder),
    /// A journal ends in half a record.
    #[error(
        "{}: the last {} bytes are half a record, of a trial that was in flight and is run again",
        .0.path.display(), .0.bytes.len()
    )]
    Torn(Damage),
    /// A journal is damaged elsewhere.
    #[error(
        "{}: bytes {} to {} are damaged; the trials whose records they held are run again",
        .0.path.display(), .0.bytes.start, .0.bytes.end
    )]
    Damaged(Damage),
    /// The table of trials is not there.
    #[error("{} is not there; the trials that it had are run again where they are asked for", .0.display())]
    Trials(PathBuf),
    /// The weights of a trial are not as its record says.
    #[error("{} is not whole; its trial is run again", .0.display())]
    Weights(PathBuf),
}

/// When the disk is asked to have what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// At most a tenth of a second later, together with whatever else was written until then.
    #[default]
    Group,
    /// Before anything else is done.
    Every,
}

/// What may be done with a folder that is there already, and how it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Opening {
    /// Delete what a manifest of ours lists, and begin anew.
    pub fresh: bool,
    /// Forget failed trials, so that they are run again.
    pub retry_failed: bool,
    /// When the disk has what was written.
    pub sync: Sync,
}

impl Store {
    /// Opens a folder for the trials of an identity, creating it if it is not there.
    pub fn open(dir: &Path, identity: &str, opening: Opening) -> Result<Store, StoreError> {
        admit(dir, identity, opening)?;
        let folders = || FOLDERS.iter().chain(&[PLOTS]);
        folders().try_for_each(|folder| check_inside(dir, folder))?;
        create_folder(dir)?;
        let lock = Lock::take(dir)?;
        // Whoever had the folder until now may have begun another experiment in it.
        let earlier = admit(dir, identity, opening)?;
        let earlier = if opening.fresh {
            clear(dir, earlier.as_ref())?;
            None
        } else {
            earlier
        };
        FOLDERS.iter().try_for_each(|folder| create_inside(dir, folder).map(|_| ()))?;
        remove_left_behind(dir)?;
        folders().try_for_each(|folder| remove_left_behind(&dir.join(folder)))?;
        let mut notes: Vec<Note> = lock.left_by.clone().map(Note::TakenOver).into_iter().collect();
        FILES.iter().chain(&[PAGE]).try_for_each(|name| check_no_folder(dir, name))?;
        let lost = earlier.as_ref().map_or(Vec::new(), |manifest| lost::of(dir, manifest));
        notes.extend(lost.contains(&"trials.parquet").then(|| Note::Trials(dir.join("trials.parquet"))));
        let contents = journal::read(dir)?;
        let damage = |damage: Damage| if damage.torn { Note::Torn(damage) } else { Note::Damaged(damage) };
        notes.extend(contents.damages.into_iter().map(damage));
        tables::check(dir, earlier.as_ref())?;
        let mut stored = tables::keys(dir)?;
        let mut records = whole(dir, latest(contents.records), &stored, &mut notes);
        if opening.retry_failed {
            records.retain(Record::completed);
            stored.retain(|key| key.completed);
        }
        let (dir, sync, journals) = (dir.to_path_buf(), opening.sync, contents.files);
        Ok(Store { dir, sync, writer: None, stored, records, journals, lost, earlier, notes, _lock: lock })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Trials that have ended.
    pub fn known(&self) -> Vec<TrialKey> {
        let records: Vec<TrialKey> = self.records.iter().map(Record::key).collect();
        let newer: HashSet<&str> = records.iter().map(|key| key.trial.as_str()).collect();
        let stored = self.stored.iter().filter(|key| !newer.contains(key.trial.as_str())).cloned();
        let stored: Vec<TrialKey> = stored.collect();
        stored.into_iter().chain(records).collect()
    }

    /// A row of each trial that has ended, wherever it is stored; `manifest` is that of the tables, where there are such.
    pub fn rows(&self, manifest: Option<&Manifest>) -> Result<Vec<SummaryRow>, StoreError> {
        let newer: HashSet<&str> = self.records.iter().map(|record| record.trial.as_str()).collect();
        let stored: HashSet<&str> = self.stored.iter().map(|key| key.trial.as_str()).collect();
        let mut rows = match manifest {
            Some(manifest) if !stored.is_empty() => self.summary(manifest)?,
            _ => Vec::new(),
        };
        rows.retain(|row| stored.contains(row.trial.as_str()) && !newer.contains(row.trial.as_str()));
        rows.extend(self.records.iter().map(Record::row));
        Ok(rows)
    }

    /// Mean threshold of each layer of the trial whose states were kept in this run.
    pub fn thresholds(&self) -> HashMap<String, f64> {
        let traces = self.records.iter().flat_map(|record| &record.layers);
        traces.filter_map(|t| Some((t.layer.clone(), f64::from(*t.threshold.first()?)))).collect()
    }

    /// A row a trial for a summary, in the order of the table.
    pub fn summary(&self, manifest: &Manifest) -> Result<Vec<SummaryRow>, StoreError> {
        tables::summary(&self.dir, manifest)
    }

    /// Stores a finished trial: its weights first, then its record, which it gives back.
    pub fn add(&mut self, mut record: Record, weights: Option<&Weights>) -> Result<&Record, StoreError> {
        let mut path = None;
        if let Some(weights) = weights {
            let file = self.dir.join(weights_file(&record.trial));
            let bytes = weights.to_safetensors(&file)?;
            record.weights_bytes = Some(bytes.len() as u64);
            replace(&file, &bytes)?;
            path = Some(file);
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(journal::Writer::create(&self.dir, self.sync)?),
        };
        writer.append(&record, path)?;
        Ok(self.records.push_mut(record))
    }

    /// Whether the tables have everything, in the order of `rank`, and the page that shows them is there with its figures.
    pub fn is_settled(&self, rank: &dyn Fn(&str, u64) -> (usize, u64)) -> bool {
        let there = self.earlier.as_ref().is_some_and(|manifest| lost::nothing(&self.dir, manifest));
        there && self.records.is_empty() && self.journals.is_empty() && self.in_order(rank)
    }

    fn in_order(&self, rank: &dyn Fn(&str, u64) -> (usize, u64)) -> bool {
        self.stored.is_sorted_by_key(|key| (rank(&key.config, key.seed), &key.trial))
    }

    /// Puts the journal's records into the tables, and rows into the order of `rank`. Nothing is written where nothing
    /// would change; says whether something was. The journals stay until [`Store::settle`].
    pub fn compact(&mut self, columns: &Columns, rank: &dyn Fn(&str, u64) -> (usize, u64)) -> Result<bool, StoreError> {
        if let Some(writer) = self.writer.take() {
            self.journals.push(writer.path().to_path_buf());
            writer.finish()?;
        }
        let there = lost::tables().all(|name| self.dir.join(name).exists());
        let changed = !self.records.is_empty() || !self.in_order(rank) || !there;
        if changed {
            // Trials end in any order, and columns that only some of them have come in the order of the first that has them.
            self.records.sort_by_cached_key(|record| (rank(&record.config, record.seed), record.trial.clone()));
            let mut tables = Tables::read(&self.dir)?.with(&self.records, columns, rank, &self.dir)?;
            tables.write(&self.dir)?;
            self.stored = tables.keys()?;
            let ended: HashSet<&str> = self.records.iter().map(|record| record.trial.as_str()).collect();
            checkpoint::forget_all(&self.dir, &ended)?;
            self.records.clear();
        }
        Ok(changed)
    }

    /// Removes the checkpoints of trials that the tables have: one whose weights were made again may have left it.
    pub fn forget_checkpoints(&self) -> Result<(), StoreError> {
        checkpoint::forget_all(&self.dir, &self.stored.iter().map(|key| key.trial.as_str()).collect())
    }

    /// Removes the journals, the earlier ones first: the tables have what they hold, and all that is made of it is there.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        std::mem::take(&mut self.journals).iter().try_for_each(|path| remove(path))
    }

    /// Writes the manifest.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        use std::io::Write;
        let path = self.dir.join("manifest.json");
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(|e| StoreError::Manifest { path: path.clone(), error: e.to_string() })?;
        replace_durably(&path, |file| file.write_all(&text))
    }
}

/// Manifest and trials of a folder that is finished, was last asked for what `request` is the digest of, and has all of
/// it, and the weights that it saves; else none. Takes no lock and changes nothing.
pub fn settled(dir: &Path, request: &str, save: Save) -> Result<Option<(Manifest, Vec<SummaryRow>)>, StoreError> {
    let Some(manifest) = read_manifest(dir)? else { return Ok(None) };
    let asked = manifest.status == StudyStatus::Finished && manifest.request.as_deref() == Some(request);
    if !asked || !lost::nothing(dir, &manifest) || !journal::read(dir)?.files.is_empty() || lock::holder(dir).is_some()
    {
        return Ok(None);
    }
    // What a killed process left half-written goes when the folder is opened.
    let halves = [dir.to_path_buf(), dir.join(PLOTS)];
    let halves = halves.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().filter_map(Result::ok);
    if halves.into_iter().any(|entry| is_temporary(&entry.path())) {
        return Ok(None);
    }
    let rows = tables::summary(dir, &manifest)?;
    let weights = kept::asked_for(save, &rows, &manifest);
    let kept = weights.par_iter().all(|row| kept::are_whole(dir, &row.trial));
    Ok((kept && rows.len() == manifest.planned).then_some((manifest, rows)))
}

/// Of several records of a trial the last one: a failed trial may have been run again.
fn latest(records: Vec<Record>) -> Vec<Record> {
    let last: HashMap<String, usize> = records.iter().enumerate().map(|(i, r)| (r.trial.clone(), i)).collect();
    records.into_iter().enumerate().filter(|(i, r)| last[&r.trial] == *i).map(|(_, record)| record).collect()
}

/// The records whose weights are there, as far as their length tells; those of trials that completed in the tables
/// without their weights, which may have been let go since.
fn whole(dir: &Path, records: Vec<Record>, stored: &[TrialKey], notes: &mut Vec<Note>) -> Vec<Record> {
    let tabled: HashSet<&str> = stored.iter().filter(|key| key.completed).map(|key| key.trial.as_str()).collect();
    let whole = |record: Record| {
        let path = dir.join(weights_file(&record.trial));
        let fine = record.weights_bytes.is_none_or(|len| fs::metadata(&path).is_ok_and(|meta| meta.len() == len));
        match (fine, tabled.contains(record.trial.as_str())) {
            (true, _) => Some(record),
            (false, true) => Some(Record { weights_bytes: None, ..record }),
            (false, false) => {
                notes.push(Note::Weights(path));
                None
            }
        }
    };
    records.into_iter().filter_map(whole).collect()
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(folder).map_err(|error| StoreError::Io { path: folder.into(), error })?;
    Ok(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect())
}

/// A trial in a summary.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryRow {
    /// Its id.
    pub trial: String,
    /// Its configuration.
    pub config: String,
    /// Each dimension of the sweep with its value.
    pub params: Vec<(String, String)>,
    /// Its seed.
    pub seed: u64,
    /// Numbers in the parameters of its network, where the table says so.
    pub parameters: Option<u64>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// The loss after training.
    pub loss: Option<f64>,
    /// The metrics after training.
    pub metrics: Vec<Option<f64>>,
    /// Updates done.
    pub iterations: u64,
    /// Time spent in training.
    pub seconds: f64,
}

/// Where the weights of a trial lie in the folder.
pub fn weights_file(trial: &str) -> String {
    format!("weights/{trial}.safetensors")
}

/// Parameters by path, with their shapes in PyTorch's orientation.
pub struct Weights {
    /// Path, shape and values.
    pub parameters: Vec<(String, Vec<usize>, Vec<f32>)>,
    /// Units of the data that they were fitted in.
    pub scale: Option<Arc<Scale>>,
}

/// The key of a weight file's metadata under which its units stand, as JSON.
pub const SCALE: &str = "scale";

impl Weights {
    fn to_safetensors(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let failed = |error: String| StoreError::Table { dir: path.into(), error };
        let bytes: Vec<Vec<u8>> = self.parameters.iter().map(|(.., values)| little_endian(values)).collect();
        let views = self.parameters.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
            view.map(|view| (name.clone(), view)).map_err(|e| failed(e.to_string()))
        });
        let views = views.collect::<Result<HashMap<_, _>, _>>()?;
        let metadata = self.units(path)?.map(|units| HashMap::from([(SCALE.to_string(), units)]));
        safetensors::serialize(&views, metadata).map_err(|e| failed(e.to_string()))
    }

    /// Its units, as JSON.
    fn units(&self, path: &Path) -> Result<Option<String>, StoreError> {
        let failed = |error: serde_json::Error| StoreError::Table { dir: path.into(), error: error.to_string() };
        self.scale.as_deref().map(serde_json::to_string).transpose().map_err(failed)
    }
}

/// Numbers as bytes, the lowest first.
fn little_endian(values: &[f32]) -> Vec<u8> {
    if cfg!(target_endian = "little") {
        return bytemuck::cast_slice(values).to_vec();
    }
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Reads the manifest of a folder that has one.
pub fn manifest_of(dir: &Path) -> Result<Manifest, StoreError> {
    let none = |dir: &Path| match dir.join("trials.parquet").exists() {
        true => StoreError::Unnamed(dir.into()),
        false => StoreError::NoResults(dir.into()),
    };
    read_manifest(dir)?.ok_or_else(|| none(dir))
}

/// Reads the manifest of a folder, if there is one.
pub fn read_manifest(dir: &Path) -> Result<Option<Manifest>, StoreError> {
    let path = dir.join("manifest.json");
    let text = match read_plain(&path, MAX_MANIFEST).map_err(std::io::Error::from) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::Io { path, error }),
    };
    let manifest: Manifest = serde_json::from_str(&text)
        .map_err(|error| StoreError::Manifest { path: path.clone(), error: error.to_string() })?;
    if manifest.format > manifest::FORMAT {
        let error = format!("the folder is of format {}, later than this program knows", manifest.format);
        return Err(StoreError::Manifest { path, error });
    }
    manifest.check().map_err(|error| StoreError::Manifest { path, error })?;
    Ok(Some(manifest))
}

/// The manifest of a folder that a study may be run in, if there is one. Changes nothing.
fn admit(dir: &Path, identity: &str, opening: Opening) -> Result<Option<Manifest>, StoreError> {
    // The manifest is read last: another run that begins now writes it before anything that these two would stumble over.
    let (empty, tables) = (is_empty(dir)?, dir.join("trials.parquet").exists());
    let manifest = read_manifest(dir)?;
    match &manifest {
        None if tables => Err(StoreError::Unnamed(dir.into())),
        None if !empty => Err(StoreError::Foreign(dir.into())),
        Some(there) if there.identity != identity && !opening.fresh => Err(StoreError::OtherExperiment(dir.into())),
        _ => Ok(manifest),
    }
}

/// Whether nothing is in a folder, or only what a run leaves that was killed before its first manifest.
fn is_empty(dir: &Path) -> Result<bool, StoreError> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.filter_map(Result::ok).all(|e| {
            let name = e.file_name();
            name == LOCK || FOLDERS.iter().chain(&[PLOTS]).any(|ours| name == *ours) || is_temporary(&e.path())
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(StoreError::Io { path: dir.into(), error }),
    }
}

/// Whether a path's name is a trial's id with an ending.
fn is_named(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e == ending) && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_id)
}

/// Whether a file of a manifest's list has a name that we give.
fn is_our_name(name: &str) -> bool {
    match name.split_once('/') {
        None => FILES.contains(&name) || name == PAGE,
        Some((PLOTS, file)) => {
            let plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
            file.ends_with(".svg") && !file.starts_with('.') && file.chars().all(plain)
        }
        Some(_) => false,
    }
}

/// Deletes the files that a manifest lists, if they are named as ours are, and journals and checkpoints. Everything is
/// looked at before the first is deleted. The manifest itself stays until the new one takes its place: without it nobody
/// would know whose the folder is.
fn clear(dir: &Path, manifest: Option<&Manifest>) -> Result<(), StoreError> {
    let listed = manifest.iter().flat_map(|manifest| &manifest.files).filter(|name| is_our_name(name));
    let mut files: Vec<PathBuf> = listed.filter(|name| *name != "manifest.json").map(|name| dir.join(name)).collect();
    // A run that was killed early may not have made their folder.
    if let Some(manifest) = manifest.filter(|_| dir.join("weights").is_dir()) {
        files.extend(kept::of_folder(dir, manifest)?);
    }
    files.extend(journal::read(dir)?.files);
    files.extend(checkpoint::files(dir)?);
    for path in &files {
        if fs::symlink_metadata(path).is_ok() && !is_file(path) {
            let name = path.strip_prefix(dir).unwrap_or(path).display().to_string();
            return Err(StoreError::NotOurs { dir: dir.into(), name });
        }
    }
    files.iter().try_for_each(|path| remove(path))
}
