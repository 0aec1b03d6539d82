//! The result folder: tables (Parquet), weights (safetensors), the manifest, and the journal of a run.
//!
//! Every file appears by atomic rename: weights when their trial ends, then the trial's line in the journal; tables
//! when the run ends, `trials.parquet` last, after which the journal goes. Whatever the moment at which the process
//! is killed, what had finished is found again.

pub mod environment;
pub mod manifest;
pub mod ranking;
pub mod record;
pub mod tables;

use manifest::Manifest;
use record::Record;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use tables::{Columns, Tables};

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
    /// The folder is not empty, and no manifest of ours lies in it.
    #[error("{} is not a result folder, and it is not empty", .0.display())]
    Foreign(PathBuf),
    /// The folder's manifest cannot be understood.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// The folder holds results of something else.
    #[error("{} holds results of another experiment", .0.display())]
    OtherExperiment(PathBuf),
    /// Another process writes to the folder.
    #[error("{} is in use by another run", .0.display())]
    InUse(PathBuf),
}

const JOURNAL: &str = "journal/0.jsonl";
const LOCK: &str = ".lock";

/// Files of every result folder beside weights, plots and the report.
pub const FILES: [&str; 6] =
    ["manifest.json", "trials.parquet", "history.parquet", "traces.parquet", "layers.parquet", JOURNAL];

/// A result folder that this process writes to.
pub struct Store {
    dir: PathBuf,
    journal: File,
    tables: Tables,
    records: Vec<Record>,
    /// What earlier runs left, if there were any.
    pub earlier: Option<Manifest>,
    _lock: File,
}

/// What may be done with a folder that is there already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Opening {
    /// Delete what a manifest of ours lists, and begin anew.
    pub fresh: bool,
    /// Forget failed trials, so that they are run again.
    pub retry_failed: bool,
}

impl Store {
    /// Opens a folder for the trials of an identity, creating it if it is not there.
    pub fn open(dir: &Path, identity: &str, opening: Opening) -> Result<Store, StoreError> {
        let earlier = read_manifest(dir)?;
        match &earlier {
            None if !is_empty(dir)? => return Err(StoreError::Foreign(dir.into())),
            Some(manifest) if manifest.identity != identity && !opening.fresh => {
                return Err(StoreError::OtherExperiment(dir.into()));
            }
            _ => {}
        }
        create(&dir.join("journal"))?;
        let lock = lock(dir)?;
        let earlier = match earlier {
            Some(manifest) if opening.fresh => {
                clear(dir, &manifest)?;
                None
            }
            earlier => earlier,
        };
        create(&dir.join("journal"))?;
        create(&dir.join("weights"))?;
        let mut tables = Tables::read(dir)?;
        let known = tables.finished(dir)?;
        let mut records = read_journal(&dir.join(JOURNAL))?;
        let stored: HashSet<&str> = known.iter().map(|(id, _)| id.as_str()).collect();
        records.retain(|record| !stored.contains(record.trial.as_str()));
        if opening.retry_failed {
            records.retain(Record::completed);
            let failed: Vec<String> = known.into_iter().filter(|(_, fine)| !fine).map(|(id, _)| id).collect();
            tables = tables.without(&failed, dir)?;
        }
        let path = dir.join(JOURNAL);
        rewrite_journal(&path, &records)?;
        let journal = OpenOptions::new().append(true).open(&path).map_err(|error| StoreError::Io { path, error })?;
        Ok(Store { dir: dir.into(), journal, tables, records, earlier, _lock: lock })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Trials that have ended, with configuration and seed.
    pub fn known(&self) -> Result<Vec<(String, String, u64)>, StoreError> {
        let mut keys = self.tables.keys(&self.dir)?;
        keys.extend(self.records.iter().map(|r| (r.trial.clone(), r.config.clone(), r.seed)));
        Ok(keys)
    }

    /// Mean threshold of each layer of the trial whose states were kept in this run.
    pub fn thresholds(&self) -> HashMap<String, f64> {
        let traces = self.records.iter().flat_map(|record| &record.layers);
        traces.filter_map(|t| Some((t.layer.clone(), f64::from(*t.threshold.first()?)))).collect()
    }

    /// A row a trial for a summary, in the order of the table.
    pub fn summary(&self) -> Result<Vec<SummaryRow>, StoreError> {
        self.tables.summary(&self.dir)
    }

    /// Stores a finished trial: its weights first, then its record.
    pub fn add(&mut self, record: Record, weights: Option<&Weights>) -> Result<(), StoreError> {
        if let Some(weights) = weights {
            let path = self.dir.join(weights_file(&record.trial));
            replace(&path, &weights.to_safetensors(&path)?)?;
        }
        let path = || self.dir.join(JOURNAL);
        let mut line =
            serde_json::to_vec(&record).map_err(|e| StoreError::Manifest { path: path(), error: e.to_string() })?;
        line.push(b'\n');
        self.journal.write_all(&line).map_err(|error| StoreError::Io { path: path(), error })?;
        self.records.push(record);
        Ok(())
    }

    /// Deletes the weights of all trials but that of the lowest loss.
    pub fn keep_best_weights(&self) -> Result<(), StoreError> {
        let rows = self.summary()?;
        let losses = rows.iter().filter_map(|row| Some((row.loss?, &row.trial)));
        let Some((_, best)) = losses.min_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(()) };
        let folder = self.dir.join("weights");
        let entries = fs::read_dir(&folder).map_err(|error| StoreError::Io { path: folder.clone(), error })?;
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let ours = path.extension().is_some_and(|e| e == "safetensors");
            if ours && path.file_stem().is_some_and(|stem| stem != best.as_str()) {
                fs::remove_file(&path).map_err(|error| StoreError::Io { path, error })?;
            }
        }
        Ok(())
    }

    /// Moves the journal's records into the tables.
    pub fn compact(&mut self, columns: &Columns, rank: &dyn Fn(&str, u64) -> (usize, u64)) -> Result<(), StoreError> {
        let tables = std::mem::take(&mut self.tables);
        self.tables = tables.with(&self.records, columns, rank, &self.dir)?;
        self.tables.write(&self.dir)?;
        self.records.clear();
        rewrite_journal(&self.dir.join(JOURNAL), &[])
    }

    /// The tables, complete after [`Store::compact`].
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Writes the manifest.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path = self.dir.join("manifest.json");
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(|e| StoreError::Manifest { path: path.clone(), error: e.to_string() })?;
        replace(&path, &text)
    }
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
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// The loss after training.
    pub loss: Option<f64>,
    /// The metrics after training.
    pub metrics: Vec<Option<f64>>,
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
}

impl Weights {
    fn to_safetensors(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let failed = |error: String| StoreError::Table { dir: path.into(), error };
        let bytes: Vec<Vec<u8>> =
            self.parameters.iter().map(|(.., values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
        let views = self.parameters.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
            view.map(|view| (name.clone(), view)).map_err(|e| failed(e.to_string()))
        });
        let views = views.collect::<Result<HashMap<_, _>, _>>()?;
        safetensors::serialize(&views, None).map_err(|e| failed(e.to_string()))
    }
}

/// Reads the manifest of a folder, if there is one.
pub fn read_manifest(dir: &Path) -> Result<Option<Manifest>, StoreError> {
    let path = dir.join("manifest.json");
    let text = match fs::read_to_string(&path) {
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
    Ok(Some(manifest))
}

/// Writes a file beside its place and renames it there, so that it is complete or absent.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("part");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        // The half-written file is of no use; that it cannot be removed either says nothing new.
        let _ = fs::remove_file(&temporary);
        StoreError::Io { path: path.into(), error }
    })
}

fn create(dir: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(dir).map_err(|error| StoreError::Io { path: dir.into(), error })
}

fn is_empty(dir: &Path) -> Result<bool, StoreError> {
    match fs::read_dir(dir) {
        // A run that was killed before its first manifest leaves these two.
        Ok(entries) => {
            Ok(entries.filter_map(Result::ok).all(|e| [LOCK, "journal"].iter().any(|ours| e.file_name() == *ours)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(StoreError::Io { path: dir.into(), error }),
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = File::create(&path).map_err(|error| StoreError::Io { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse(dir.into())),
        Err(fs::TryLockError::Error(error)) => Err(StoreError::Io { path, error }),
    }
}

/// Deletes the files that a manifest lists, the manifest last; nothing outside of the folder.
fn clear(dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let inside = |name: &&String| Path::new(name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    let (last, files): (Vec<_>, Vec<_>) =
        manifest.files.iter().filter(inside).partition(|name| *name == "manifest.json");
    for name in files.into_iter().chain(last) {
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::Io { path, error }),
        }
    }
    Ok(())
}

/// Records of finished trials. A last line that is torn belongs to a trial that was in flight.
fn read_journal(path: &Path) -> Result<Vec<Record>, StoreError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::Io { path: path.into(), error }),
    };
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut records = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        match serde_json::from_slice(line) {
            Ok(record) => records.push(record),
            Err(_) if i + 1 == lines.len() => {}
            Err(error) => {
                let error = format!("line {}: {error}", i + 1);
                return Err(StoreError::Manifest { path: path.into(), error });
            }
        }
    }
    Ok(records)
}

fn rewrite_journal(path: &Path, records: &[Record]) -> Result<(), StoreError> {
    let mut bytes = Vec::new();
    for record in records {
        let line =
            serde_json::to_vec(record).map_err(|e| StoreError::Manifest { path: path.into(), error: e.to_string() })?;
        bytes.extend(line);
        bytes.push(b'\n');
    }
    replace(path, &bytes)
}
