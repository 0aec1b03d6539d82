//! The Parquet tables of a folder, read, with more rows, and written.
//!
//! Rows are in the order of trials: configurations in the order of the plan, seeds ascending. Only the three times
//! of `trials.parquet` depend on when and where a trial ran.

use super::columns::{FilledGrid, PARAMETERS, StoredTable};
use super::files::{replace_synced, sync_folder_of};
use super::frames::{Columns, baselines_of, history_of, layers_of, traces_of, trials_of};
use super::manifest::Manifest;
use super::record::{Record, TrialKey};
use super::{StoreError, SummaryRow, parquet};
use crate::spec::check::is_name;
use crate::spec::source::open;
use polars::prelude::*;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Trials whose traces are kept.
pub const TRACED_TRIALS: usize = 100;

/// The tables of a folder.
#[derive(Debug, Default)]
pub struct Tables {
    /// A row a trial.
    pub trials: StoredTable,
    /// A row an iteration that was recorded.
    pub history: StoredTable,
    /// A row a step and channel of the first samples.
    pub traces: StoredTable,
    /// A row a step and neuron of the first sample of the first trial.
    pub layers: StoredTable,
    /// A row a trial and baseline, where these were scored.
    pub baselines: StoredTable,
}

pub(super) const TRIALS: &str = "trials.parquet";
pub(super) const HISTORY: &str = "history.parquet";
pub(super) const TRACES: &str = "traces.parquet";
pub(super) const LAYERS: &str = "layers.parquet";
const BASELINES: &str = "baselines.parquet";

/// How a trial ended, as the column `status` says it.
const ENDS: [&str; 2] = ["completed", "failed"];

/// What the columns of swept dimensions begin with; their types follow from the values.
const PARAM: &str = "param.";

/// The trials of a folder, from the few columns that say so.
pub fn keys(dir: &Path) -> Result<Vec<TrialKey>, StoreError> {
    keys_of(&StoredTable::read(dir, TRIALS, Some(&["trial", "config", "seed", "status"]))?)
}

fn keys_of(trials: &StoredTable) -> Result<Vec<TrialKey>, StoreError> {
    if trials.is_empty() {
        return Ok(Vec::new());
    }
    let (ids, configs, seeds) = (trials.own_ids()?, trials.texts("config")?, trials.counts("seed")?);
    let rows = ids.into_iter().zip(configs).zip(seeds).zip(trials.choices("status", &ENDS)?);
    let key = |(((trial, config), seed), end): (((String, String), u64), usize)| TrialKey {
        trial,
        config,
        seed,
        completed: end == 0,
    };
    Ok(rows.map(key).collect())
}

/// Rows of each table that a folder has.
///
/// # Errors
/// Where the end of one cannot be read.
pub fn heights(dir: &Path) -> Result<BTreeMap<String, usize>, StoreError> {
    let paths = super::lost::tables().map(|name| (name, dir.join(name))).filter(|(_, path)| path.exists());
    let height = |(name, path): (&str, PathBuf)| {
        let file = open(&path).map_err(|error| StoreError::Io { path: path.clone(), error: error.into() })?;
        let unreadable = || StoreError::Table { dir: path, error: parquet::DAMAGED.into() };
        Ok((name.to_string(), parquet::rows(file).ok_or_else(unreadable)?))
    };
    paths.map(height).collect()
}

/// Each trial's row of a folder, for a summary.
pub fn summary(dir: &Path, manifest: &Manifest) -> Result<Vec<SummaryRow>, StoreError> {
    summary_of(&StoredTable::read(dir, TRIALS, None)?, manifest)
}

fn summary_of(trials: &StoredTable, manifest: &Manifest) -> Result<Vec<SummaryRow>, StoreError> {
    let keys = keys_of(trials)?;
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let errors = trials.some_texts("error")?;
    let metrics = manifest.metrics.iter().map(|metric| trials.numbers(&metric.name));
    let metrics = metrics.collect::<Result<Vec<_>, _>>()?;
    let (losses, seconds) = (trials.numbers("loss")?, trials.numbers("duration_s")?);
    let iterations = trials.counts("iterations")?;
    let parameters = trials.later_counts(PARAMETERS)?;
    let params = manifest.swept.iter().map(|name| Ok((name, trials.shown(&format!("{PARAM}{name}"))?)));
    let params = params.collect::<Result<Vec<(&String, Vec<String>)>, StoreError>>()?;
    let row = |(i, key): (usize, TrialKey)| SummaryRow {
        trial: key.trial,
        config: key.config,
        params: params.iter().map(|(title, values)| (title.to_string(), values[i].clone())).collect(),
        seed: key.seed,
        parameters: parameters[i],
        error: (!key.completed).then(|| errors[i].clone().unwrap_or_default()),
        loss: losses[i],
        metrics: metrics.iter().map(|column| column[i]).collect(),
        iterations: iterations[i],
        seconds: seconds[i].unwrap_or(0.0),
    };
    Ok(keys.into_iter().enumerate().map(row).collect())
}

/// The sequences that a table of traces has, by trial: samples, steps, channels.
pub fn trace_grids(traces: &StoredTable) -> Result<Vec<FilledGrid<3>>, StoreError> {
    traces.grids("trial", ["sample", "step", "channel"])
}

/// The states that a table of layers has, by layer: neurons, steps. Names of layers become part of those of files.
pub fn layer_grids(layers: &StoredTable) -> Result<Vec<FilledGrid<2>>, StoreError> {
    if !layers.is_empty()
        && let Some((name, rows)) = layers.runs("layer", usize::MAX)?.into_iter().find(|(name, _)| !is_name(name))
    {
        return Err(layers.wrong_cell(rows.start, "layer", format!("{name:?} is no name")));
    }
    layers.grids("layer", ["neuron", "step"])
}

/// Makes sure that rows can be added to the tables of a folder with this manifest, before any are computed.
pub fn check(dir: &Path, manifest: Option<&Manifest>) -> Result<(), StoreError> {
    let tables = Tables::read(dir)?;
    let none = Columns::default();
    let blank = |frame: PolarsResult<DataFrame>| frame.map_err(|error| unreadable(dir, &error));
    tables.trials.fits(&blank(trials_of(&[], &none))?)?;
    tables.history.fits(&blank(history_of(&[], &none.recorded))?)?;
    tables.traces.fits(&blank(traces_of(&[]))?)?;
    tables.layers.fits(&blank(layers_of(&[]))?)?;
    tables.baselines.fits(&blank(baselines_of(&[], &none))?)?;
    manifest.map_or(Ok(()), |manifest| summary_of(&tables.trials, manifest).map(|_| ()))?;
    trace_grids(&tables.traces)?;
    layer_grids(&tables.layers)?;
    for table in [&tables.history, &tables.baselines] {
        let names = table.names_but(&["trial", "baseline"]);
        names.iter().try_for_each(|name| table.numbers(name).map(|_| ()))?;
    }
    Ok(())
}

impl Tables {
    /// Reads the tables of a folder.
    pub fn read(dir: &Path) -> Result<Tables, StoreError> {
        let read = |name: &str| StoredTable::read(dir, name, None);
        Ok(Tables {
            history: read(HISTORY)?,
            traces: read(TRACES)?,
            layers: read(LAYERS)?,
            baselines: read(BASELINES)?,
            trials: read(TRIALS)?,
        })
    }

    /// Each table with the name of its file.
    pub fn named(&self) -> [(&'static str, &StoredTable); 5] {
        [
            (TRIALS, &self.trials),
            (HISTORY, &self.history),
            (TRACES, &self.traces),
            (LAYERS, &self.layers),
            (BASELINES, &self.baselines),
        ]
    }

    /// The trials.
    pub fn keys(&self) -> Result<Vec<TrialKey>, StoreError> {
        keys_of(&self.trials)
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
        let kept = self.keys()?.into_iter().filter(|key| !new.contains(key.trial.as_str()));
        let mut keys: Vec<TrialKey> = kept.chain(records.iter().map(Record::key)).collect();
        keys.sort_by_cached_key(|key| (rank(&key.config, key.seed), key.trial.clone()));
        let place: HashMap<&str, usize> = keys.iter().enumerate().map(|(i, key)| (key.trial.as_str(), i)).collect();
        let merged = |old: StoredTable, added: PolarsResult<DataFrame>, most: Option<usize>| {
            let boundary = old.frame().height();
            let table = stack(old, added.map_err(failed)?)?;
            // Rows of a trial lie together.
            let runs = if table.is_empty() { Vec::new() } else { table.runs("trial", boundary)? };
            let valid = runs.into_iter().filter(|(id, rows)| rows.start >= boundary || !new.contains(id.as_str()));
            let mut placed: Vec<(usize, Range<usize>)> =
                valid.filter_map(|(id, rows)| Some((*place.get(id.as_str())?, rows))).collect();
            placed.sort_by_key(|(place, rows)| (*place, rows.start));
            let mut trials = placed.iter().map(|(place, _)| *place).collect::<Vec<usize>>();
            trials.dedup();
            let last = most.and_then(|most| trials.get(most - 1));
            placed.retain(|(place, _)| last.is_none_or(|last| place <= last));
            table.of_rows(placed.into_iter().flat_map(|(_, rows)| rows))
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
            (HISTORY, &mut self.history),
            (TRACES, &mut self.traces),
            (LAYERS, &mut self.layers),
            (BASELINES, &mut self.baselines),
        ];
        let path = dir.join(TRIALS);
        others.into_par_iter().try_for_each(|(name, table)| write_one(&dir.join(name), table))?;
        sync_folder_of(&path)?;
        write_one(&path, &mut self.trials)?;
        sync_folder_of(&path)
    }
}

fn write_one(path: &Path, table: &mut StoredTable) -> Result<(), StoreError> {
    let table = table.frame_mut();
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

fn unreadable(dir: &Path, error: &PolarsError) -> StoreError {
    StoreError::Table { dir: dir.to_path_buf(), error: error.to_string() }
}

/// Rows below those of a table. What was swept over whole numbers may now have fractions, or texts, and layers that
/// only one of them has are watched in columns that the other lacks; all else has the types of the new rows.
fn stack(old: StoredTable, new: DataFrame) -> Result<StoredTable, StoreError> {
    if old.frame().width() == 0 {
        return Ok(old.with_frame(new));
    }
    if new.height() == 0 {
        return Ok(old);
    }
    let failed = |error: PolarsError| old.unreadable(&error);
    let (mut above, mut below) = (Vec::new(), Vec::new());
    let columns = old.frame().columns();
    let only_old = columns.iter().filter(|column| new.column(column.name()).is_err());
    for column in new.columns().iter().chain(only_old) {
        let empty = |height: usize| Column::full_null(column.name().clone(), height, column.dtype());
        let upper = old.frame().column(column.name()).cloned().unwrap_or_else(|_| empty(old.frame().height()));
        let lower = new.column(column.name()).cloned().unwrap_or_else(|_| empty(new.height()));
        let numeric = upper.dtype().is_numeric() && lower.dtype().is_numeric();
        let common = match column.name().starts_with(PARAM) && upper.dtype() != lower.dtype() {
            true if numeric => DataType::Float64,
            true => DataType::String,
            false => lower.dtype().clone(),
        };
        above.push(old.cast(&upper, &common)?);
        below.push(lower.cast(&common).map_err(failed)?);
    }
    let above = DataFrame::new_infer_height(above).map_err(failed)?;
    let stacked = DataFrame::new_infer_height(below).and_then(|below| above.vstack(&below)).map_err(failed)?;
    Ok(old.with_frame(stacked))
}
