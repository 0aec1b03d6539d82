//! The Parquet tables of a folder, read, with more rows, and written.
//!
//! Rows are in the order of trials: configurations in the order of the plan, seeds ascending. Only the three times
//! of `trials.parquet` depend on when and where a trial ran.

use super::files::{is_id, replace_synced, sync_folder_of};
use super::frames::{baselines_of, history_of, layers_of, traces_of, trials_of};
use super::record::Record;
use super::{StoreError, SummaryRow};
use polars::prelude::*;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

/// Trials whose traces are kept.
pub const TRACED_TRIALS: usize = 100;

/// The columns that an experiment gives its tables beside those that all have.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// Names of those that are recorded on the way.
    pub recorded: Vec<String>,
    /// Names of the dimensions that are swept.
    pub swept: Vec<String>,
}

/// The tables of a folder.
#[derive(Debug, Default)]
pub struct Tables {
    /// A row a trial.
    pub trials: DataFrame,
    /// A row an iteration that was recorded.
    pub history: DataFrame,
    /// A row a step and channel of the first samples.
    pub traces: DataFrame,
    /// A row a step and neuron of the first sample of the first trial.
    pub layers: DataFrame,
    /// A row a trial and baseline, where these were scored.
    pub baselines: DataFrame,
}

/// What tells a trial from others, and whether it completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub trial: String,
    /// Its configuration.
    pub config: String,
    /// Its seed.
    pub seed: u64,
    /// Whether it ran to its end.
    pub completed: bool,
}

const TRIALS: &str = "trials.parquet";

/// The trials of a folder, from the few columns that say so.
pub fn keys(dir: &Path) -> Result<Vec<Key>, StoreError> {
    keys_of(&read_columns(dir, TRIALS, Some(&["trial", "config", "seed", "status"]))?, dir)
}

fn keys_of(trials: &DataFrame, dir: &Path) -> Result<Vec<Key>, StoreError> {
    if trials.height() == 0 {
        return Ok(Vec::new());
    }
    let seeds = trials.column("seed").and_then(|c| c.u64().cloned()).map_err(|e| unreadable(dir, &e))?;
    let (configs, status) = (texts(trials, "config", dir)?, texts(trials, "status", dir)?);
    let ids = texts(trials, "trial", dir)?;
    if let Some(other) = ids.iter().find(|id| !is_id(id)) {
        return Err(StoreError::Table { dir: dir.join(TRIALS), error: format!("{other:?} is no trial's id") });
    }
    let rows = ids.into_iter().zip(configs).zip(seeds.iter()).zip(status);
    let key = |(((trial, config), seed), status): (((String, String), Option<u64>), String)| Key {
        trial,
        config,
        seed: seed.unwrap_or(0),
        completed: status == "completed",
    };
    Ok(rows.map(key).collect())
}

/// Each trial's row of a folder, for a summary.
pub fn summary(dir: &Path) -> Result<Vec<SummaryRow>, StoreError> {
    let trials = read_one(dir, TRIALS)?;
    if trials.height() == 0 {
        return Ok(Vec::new());
    }
    let failed = |e: PolarsError| unreadable(dir, &e);
    let numbers = |name: &str| -> Result<Vec<Option<f64>>, StoreError> {
        Ok(trials.column(name).and_then(|c| c.f64().cloned()).map_err(failed)?.iter().collect())
    };
    let errors = trials.column("error").and_then(|c| c.str().cloned()).map_err(failed)?;
    let names = trials.get_column_names();
    let after = names.iter().position(|name| name.as_str() == "loss").map_or(0, |i| i + 1);
    let until = names.iter().position(|name| name.as_str() == "iterations").unwrap_or(after);
    let metrics = names[after..until].iter().map(|name| numbers(name.as_str())).collect::<Result<Vec<_>, _>>()?;
    let (losses, seconds) = (numbers("loss")?, numbers("duration_s")?);
    let titles = names.iter().filter(|name| name.starts_with("param."));
    let params = titles.map(|name| {
        let column = trials.column(name).and_then(|c| c.cast(&DataType::String)).map_err(failed)?;
        let column = column.str().map_err(failed)?;
        let title = name.trim_start_matches("param.").to_string();
        Ok((title, column.iter().map(|text| text.unwrap_or("").to_string()).collect()))
    });
    let params = params.collect::<Result<Vec<(String, Vec<String>)>, StoreError>>()?;
    let row = |(i, key): (usize, Key)| SummaryRow {
        trial: key.trial,
        config: key.config,
        params: params.iter().map(|(title, values)| (title.clone(), values[i].clone())).collect(),
        seed: key.seed,
        error: errors.get(i).map(String::from),
        loss: losses[i],
        metrics: metrics.iter().map(|column| column[i]).collect(),
        seconds: seconds[i].unwrap_or(0.0),
    };
    Ok(keys_of(&trials, dir)?.into_iter().enumerate().map(row).collect())
}

impl Tables {
    /// Reads the tables of a folder.
    pub fn read(dir: &Path) -> Result<Tables, StoreError> {
        Ok(Tables {
            history: read_one(dir, "history.parquet")?,
            traces: read_one(dir, "traces.parquet")?,
            layers: read_one(dir, "layers.parquet")?,
            baselines: read_one(dir, "baselines.parquet")?,
            trials: read_one(dir, TRIALS)?,
        })
    }

    /// Each table with the name of its file.
    pub fn named(&self) -> [(&'static str, &DataFrame); 5] {
        [
            (TRIALS, &self.trials),
            ("history.parquet", &self.history),
            ("traces.parquet", &self.traces),
            ("layers.parquet", &self.layers),
            ("baselines.parquet", &self.baselines),
        ]
    }

    /// The trials.
    pub fn keys(&self, dir: &Path) -> Result<Vec<Key>, StoreError> {
        keys_of(&self.trials, dir)
    }

    /// Adds records, in place of rows of the same trials, and puts all rows in the order that `rank` gives to a
    /// configuration and seed. Rows of trials that `trials.parquet` does not have are left behind by a process that
    /// was killed while it wrote; they are dropped.
    pub fn with(
        self,
        records: &[Record],
        columns: &Columns,
        rank: &dyn Fn(&str, u64) -> (usize, u64),
        dir: &Path,
    ) -> Result<Tables, StoreError> {
        let failed = |e: PolarsError| unreadable(dir, &e);
        let new: HashSet<&str> = records.iter().map(|record| record.trial.as_str()).collect();
        let kept = self.keys(dir)?.into_iter().filter(|key| !new.contains(key.trial.as_str()));
        let mut keys: Vec<Key> = kept.chain(records.iter().map(Record::key)).collect();
        keys.sort_by_cached_key(|key| (rank(&key.config, key.seed), key.trial.clone()));
        let place: HashMap<&str, usize> = keys.iter().enumerate().map(|(i, key)| (key.trial.as_str(), i)).collect();
        let merged = |old: DataFrame, added: PolarsResult<DataFrame>, most: Option<usize>| {
            let boundary = old.height();
            let table = stack(old, added.map_err(failed)?).map_err(failed)?;
            // Rows of a trial lie together.
            let runs = runs(&table, boundary, dir)?;
            let valid = runs.into_iter().filter(|(id, rows)| rows.start >= boundary || !new.contains(id.as_str()));
            let mut placed: Vec<(usize, Range<usize>)> =
                valid.filter_map(|(id, rows)| Some((*place.get(id.as_str())?, rows))).collect();
            placed.sort_by_key(|(place, rows)| (*place, rows.start));
            let mut trials = placed.iter().map(|(place, _)| *place).collect::<Vec<usize>>();
            trials.dedup();
            let last = most.and_then(|most| trials.get(most - 1));
            placed.retain(|(place, _)| last.is_none_or(|last| place <= last));
            take_rows(table, placed.into_iter().map(|(_, rows)| rows), dir)
        };
        let Tables { trials, history, traces, layers, baselines } = self;
        // Of states those of the first trial that has any: one that came before it may have been stored without.
        let ((history, trials), (traces, (layers, baselines))) = rayon::join(
            || {
                rayon::join(
                    || merged(history, history_of(records, &columns.recorded), None),
                    || merged(trials, trials_of(records, columns), None),
                )
            },
            || {
                rayon::join(
                    || merged(traces, traces_of(records), Some(TRACED_TRIALS)),
                    || {
                        rayon::join(
                            || merged(layers, layers_of(records), Some(1)),
                            || merged(baselines, baselines_of(records, columns), None),
                        )
                    },
                )
            },
        );
        Ok(Tables { trials: trials?, history: history?, traces: traces?, layers: layers?, baselines: baselines? })
    }

    /// Writes the tables, each by atomic rename, `trials.parquet` after the disk has the others; it has all of them when
    /// this returns.
    pub fn write(&mut self, dir: &Path) -> Result<(), StoreError> {
        let others = [
            ("history.parquet", &mut self.history),
            ("traces.parquet", &mut self.traces),
            ("layers.parquet", &mut self.layers),
            ("baselines.parquet", &mut self.baselines),
        ];
        let path = dir.join(TRIALS);
        others.into_par_iter().try_for_each(|(name, table)| write_one(&dir.join(name), table))?;
        sync_folder_of(&path)?;
        write_one(&path, &mut self.trials)?;
        sync_folder_of(&path)
    }
}

fn write_one(path: &Path, table: &mut DataFrame) -> Result<(), StoreError> {
    table.rechunk_mut();
    replace_synced(path, |file| {
        ParquetWriter::new(file).set_parallel(false).finish(table).map(|_| ()).map_err(io_error)
    })
}

/// What went wrong with the file, where that is what it was.
fn io_error(error: PolarsError) -> std::io::Error {
    match error {
        PolarsError::IO { error, .. } => std::io::Error::new(error.kind(), error.to_string()),
        other => std::io::Error::other(other.to_string()),
    }
}

/// Stretches of rows that belong to one trial and do not go past `boundary`.
pub(super) fn runs(table: &DataFrame, boundary: usize, dir: &Path) -> Result<Vec<(String, Range<usize>)>, StoreError> {
    if table.width() == 0 {
        return Ok(Vec::new());
    }
    let column = table.column("trial").and_then(|c| c.str().cloned()).map_err(|e| unreadable(dir, &e))?;
    let mut runs: Vec<(String, Range<usize>)> = Vec::new();
    for (row, id) in column.iter().enumerate() {
        let id = id.unwrap_or("");
        match runs.last_mut() {
            Some((last, rows)) if last == id && row != boundary => rows.end = row + 1,
            _ => runs.push((id.to_string(), row..row + 1)),
        }
    }
    Ok(runs)
}

pub(super) fn unreadable(dir: &Path, error: &PolarsError) -> StoreError {
    StoreError::Table { dir: dir.to_path_buf(), error: error.to_string() }
}

fn read_one(dir: &Path, name: &str) -> Result<DataFrame, StoreError> {
    read_columns(dir, name, None)
}

/// Some columns of a table, or all; empty where the file is not there.
pub fn read_columns(dir: &Path, name: &str, columns: Option<&[&str]>) -> Result<DataFrame, StoreError> {
    let path = dir.join(name);
    let columns = columns.map(|names| names.iter().map(|name| name.to_string()).collect());
    match crate::spec::source::open(&path).map_err(std::io::Error::from) {
        Ok(file) => ParquetReader::new(file).with_columns(columns).finish().map_err(|e| unreadable(&path, &e)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DataFrame::default()),
        Err(error) => Err(StoreError::Io { path, error }),
    }
}

fn texts(table: &DataFrame, column: &str, dir: &Path) -> Result<Vec<String>, StoreError> {
    let column = table.column(column).and_then(|c| c.str().cloned()).map_err(|e| unreadable(dir, &e))?;
    Ok(column.iter().map(|text| text.unwrap_or("").to_string()).collect())
}

/// Some stretches of rows, in their order.
pub(super) fn take_rows(
    table: DataFrame,
    stretches: impl Iterator<Item = Range<usize>>,
    dir: &Path,
) -> Result<DataFrame, StoreError> {
    let rows: Vec<u32> = stretches.flatten().map(|row| row as u32).collect();
    if table.width() == 0 || rows.len() == table.height() && rows.is_sorted() {
        return Ok(table);
    }
    table.take(&IdxCa::new("rows".into(), rows)).map_err(|e| unreadable(dir, &e))
}

/// One table below the other. What was swept over whole numbers may now have fractions, or texts, and layers that
/// only one of them has are watched in columns that the other lacks.
fn stack(old: DataFrame, new: DataFrame) -> PolarsResult<DataFrame> {
    if old.width() == 0 {
        return Ok(new);
    }
    if new.height() == 0 {
        return Ok(old);
    }
    let (mut above, mut below) = (Vec::new(), Vec::new());
    let only_old = old.columns().iter().filter(|column| new.column(column.name()).is_err());
    for column in new.columns().iter().chain(only_old) {
        let empty = |height: usize| Column::full_null(column.name().clone(), height, column.dtype());
        let upper = old.column(column.name()).cloned().unwrap_or_else(|_| empty(old.height()));
        let lower = new.column(column.name()).cloned().unwrap_or_else(|_| empty(new.height()));
        let common = match (upper.dtype() == lower.dtype(), upper.dtype().is_numeric() && lower.dtype().is_numeric()) {
            (true, _) => lower.dtype().clone(),
            (false, true) => DataType::Float64,
            (false, false) => DataType::String,
        };
        above.push(upper.cast(&common)?);
        below.push(lower.cast(&common)?);
    }
    DataFrame::new_infer_height(above)?.vstack(&DataFrame::new_infer_height(below)?)
}
