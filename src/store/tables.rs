//! Records as Parquet tables, and tables with more rows.
//!
//! Rows are in the order of trials: configurations in the order of the plan, seeds ascending. Only the three times
//! of `trials.parquet` depend on when and where a trial ran.

use super::record::Record;
use super::{StoreError, SummaryRow, replace};
use polars::prelude::*;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// Trials whose traces are kept.
pub const TRACED_TRIALS: usize = 100;

/// The columns that an experiment gives its tables beside those that all have.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// Names of the dimensions that are swept.
    pub swept: Vec<String>,
}

/// The four tables of a folder.
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
}

const NAMES: [&str; 4] = ["history.parquet", "traces.parquet", "layers.parquet", "trials.parquet"];

impl Tables {
    /// Reads the tables of a folder. Rows of trials that `trials.parquet` does not have are left behind by a process
    /// that was killed while it wrote; they are dropped.
    pub fn read(dir: &Path) -> Result<Tables, StoreError> {
        let trials = read_one(dir, "trials.parquet")?;
        let known: HashMap<String, usize> = ids(&trials, dir)?.into_iter().enumerate().map(|(i, id)| (id, i)).collect();
        let read = |name: &str| -> Result<DataFrame, StoreError> {
            let table = read_one(dir, name)?;
            let rows: Vec<u32> =
                (0u32..).zip(ids(&table, dir)?).filter(|(_, id)| known.contains_key(id)).map(|(row, _)| row).collect();
            take(&table, rows, dir)
        };
        Ok(Tables {
            history: read("history.parquet")?,
            traces: read("traces.parquet")?,
            layers: read("layers.parquet")?,
            trials,
        })
    }

    /// Ids of the trials, with whether they completed.
    pub fn finished(&self, dir: &Path) -> Result<Vec<(String, bool)>, StoreError> {
        if self.trials.height() == 0 {
            return Ok(Vec::new());
        }
        let status = texts(&self.trials, "status", dir)?;
        Ok(ids(&self.trials, dir)?.into_iter().zip(status.iter().map(|s| s == "completed")).collect())
    }

    /// Configuration and seed of each trial.
    pub fn keys(&self, dir: &Path) -> Result<Vec<(String, String, u64)>, StoreError> {
        if self.trials.height() == 0 {
            return Ok(Vec::new());
        }
        let seeds = self.trials.column("seed").and_then(|c| c.u64().cloned()).map_err(|e| unreadable(dir, &e))?;
        let configs = texts(&self.trials, "config", dir)?;
        let keys = ids(&self.trials, dir)?.into_iter().zip(configs).zip(seeds.iter());
        Ok(keys.map(|((id, config), seed)| (id, config, seed.unwrap_or(0))).collect())
    }

    /// Each trial's row, for a summary.
    pub fn summary(&self, dir: &Path) -> Result<Vec<SummaryRow>, StoreError> {
        if self.trials.height() == 0 {
            return Ok(Vec::new());
        }
        let failed = |e: PolarsError| unreadable(dir, &e);
        let numbers = |name: &str| -> Result<Vec<Option<f64>>, StoreError> {
            Ok(self.trials.column(name).and_then(|c| c.f64().cloned()).map_err(failed)?.iter().collect())
        };
        let errors = self.trials.column("error").and_then(|c| c.str().cloned()).map_err(failed)?;
        let names = self.trials.get_column_names();
        let after = names.iter().position(|name| name.as_str() == "loss").map_or(0, |i| i + 1);
        let until = names.iter().position(|name| name.as_str() == "iterations").unwrap_or(after);
        let metrics = names[after..until].iter().map(|name| numbers(name.as_str())).collect::<Result<Vec<_>, _>>()?;
        let (losses, seconds) = (numbers("loss")?, numbers("duration_s")?);
        let titles = names.iter().filter(|name| name.starts_with("param."));
        let params = titles.map(|name| {
            let column = self.trials.column(name).and_then(|c| c.cast(&DataType::String)).map_err(failed)?;
            let column = column.str().map_err(failed)?;
            let title = name.trim_start_matches("param.").to_string();
            Ok((title, column.iter().map(|text| text.unwrap_or("").to_string()).collect()))
        });
        let params = params.collect::<Result<Vec<(String, Vec<String>)>, StoreError>>()?;
        let row = |(i, (trial, config, seed)): (usize, (String, String, u64))| SummaryRow {
            trial,
            config,
            params: params.iter().map(|(title, values)| (title.clone(), values[i].clone())).collect(),
            seed,
            error: errors.get(i).map(String::from),
            loss: losses[i],
            metrics: metrics.iter().map(|column| column[i]).collect(),
            seconds: seconds[i].unwrap_or(0.0),
        };
        Ok(self.keys(dir)?.into_iter().enumerate().map(row).collect())
    }

    /// Takes out the rows of some trials.
    pub fn without(self, gone: &[String], dir: &Path) -> Result<Tables, StoreError> {
        let keep = |table: DataFrame| -> Result<DataFrame, StoreError> {
            let rows = (0u32..).zip(ids(&table, dir)?).filter(|(_, id)| !gone.contains(id)).map(|(row, _)| row);
            take(&table, rows.collect(), dir)
        };
        Ok(Tables {
            trials: keep(self.trials)?,
            history: keep(self.history)?,
            traces: keep(self.traces)?,
            layers: keep(self.layers)?,
        })
    }

    /// Adds records and puts all rows in the order that `rank` gives to a configuration and seed.
    pub fn with(
        self,
        records: &[Record],
        columns: &Columns,
        rank: &dyn Fn(&str, u64) -> (usize, u64),
        dir: &Path,
    ) -> Result<Tables, StoreError> {
        let failed = |e: PolarsError| unreadable(dir, &e);
        let metrics = &columns.metrics;
        let trials = stack(self.trials, trials_of(records, columns).map_err(failed)?).map_err(failed)?;
        let mut tables = Tables {
            trials,
            history: stack(self.history, history_of(records, metrics).map_err(failed)?).map_err(failed)?,
            traces: stack(self.traces, traces_of(records).map_err(failed)?).map_err(failed)?,
            layers: stack(self.layers, layers_of(records).map_err(failed)?).map_err(failed)?,
        };
        let mut keys = tables.keys(dir)?;
        keys.sort_by_key(|(id, config, seed)| (rank(config, *seed), id.clone()));
        let place: HashMap<String, usize> = keys.into_iter().enumerate().map(|(i, (id, ..))| (id, i)).collect();
        let sorted = |table: DataFrame, most: usize| -> Result<DataFrame, StoreError> {
            let places: Vec<usize> =
                ids(&table, dir)?.iter().map(|id| place.get(id).copied().unwrap_or(usize::MAX)).collect();
            let mut rows: Vec<u32> = (0..places.len() as u32).filter(|&row| places[row as usize] < most).collect();
            rows.sort_by_key(|&row| places[row as usize]);
            take(&table, rows, dir)
        };
        tables.trials = sorted(tables.trials, usize::MAX)?;
        tables.history = sorted(tables.history, usize::MAX)?;
        tables.traces = sorted(tables.traces, TRACED_TRIALS)?;
        // The first trial that has states: one that came before it may have been stored without.
        let first = ids(&tables.layers, dir)?.iter().filter_map(|id| place.get(id)).min().copied();
        tables.layers = sorted(tables.layers, first.map_or(0, |first| first + 1))?;
        Ok(tables)
    }

    /// Writes the tables, each by atomic rename, `trials.parquet` last.
    pub fn write(&mut self, dir: &Path) -> Result<(), StoreError> {
        let tables = [&mut self.history, &mut self.traces, &mut self.layers, &mut self.trials];
        for (name, table) in NAMES.into_iter().zip(tables) {
            let mut bytes = Vec::new();
            table.rechunk_mut();
            ParquetWriter::new(&mut bytes).set_parallel(false).finish(table).map_err(|e| unreadable(dir, &e))?;
            replace(&dir.join(name), &bytes)?;
        }
        Ok(())
    }
}

fn unreadable(dir: &Path, error: &PolarsError) -> StoreError {
    StoreError::Table { dir: dir.to_path_buf(), error: error.to_string() }
}

fn read_one(dir: &Path, name: &str) -> Result<DataFrame, StoreError> {
    let path = dir.join(name);
    match File::open(&path) {
        Ok(file) => ParquetReader::new(file).finish().map_err(|e| unreadable(&path, &e)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DataFrame::default()),
        Err(error) => Err(StoreError::Io { path, error }),
    }
}

fn ids(table: &DataFrame, dir: &Path) -> Result<Vec<String>, StoreError> {
    if table.width() == 0 { Ok(Vec::new()) } else { texts(table, "trial", dir) }
}

fn texts(table: &DataFrame, column: &str, dir: &Path) -> Result<Vec<String>, StoreError> {
    let column = table.column(column).and_then(|c| c.str().cloned()).map_err(|e| unreadable(dir, &e))?;
    Ok(column.iter().map(|text| text.unwrap_or("").to_string()).collect())
}

fn take(table: &DataFrame, rows: Vec<u32>, dir: &Path) -> Result<DataFrame, StoreError> {
    if table.width() == 0 || rows.len() == table.height() && rows.is_sorted() {
        return Ok(table.clone());
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

fn column<T, Phantom: ?Sized>(name: &str, values: T) -> Column
where
    Series: NamedFrom<T, Phantom>,
{
    Series::new(name.into(), values).into()
}

/// The values of a dimension: numbers if all are, else text.
fn param(name: &str, records: &[Record]) -> Column {
    let value = |record: &Record| record.params.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    let values: Vec<Option<String>> = records.iter().map(value).collect();
    let title = format!("param.{name}");
    fn parsed<T: std::str::FromStr>(values: &[Option<String>]) -> Option<Vec<Option<T>>> {
        values
            .iter()
            .map(|value| value.as_ref().map(|value| value.parse().ok()).map_or(Some(None), |p| p.map(Some)))
            .collect()
    }
    if let Some(numbers) = parsed::<i64>(&values) {
        return column(&title, numbers);
    }
    if let Some(numbers) = parsed::<f64>(&values) {
        return column(&title, numbers);
    }
    let bare = |value: &String| value.trim_matches('"').to_string();
    column(&title, values.iter().map(|value| value.as_ref().map(bare)).collect::<Vec<Option<String>>>())
}

fn trials_of(records: &[Record], columns: &Columns) -> PolarsResult<DataFrame> {
    let Columns { metrics, swept } = columns;
    let text = |f: &dyn Fn(&Record) -> String| records.iter().map(f).collect::<Vec<String>>();
    let time = |name: &str, f: &dyn Fn(&Record) -> i64| {
        let micros = Int64Chunked::from_vec(name.into(), records.iter().map(f).collect());
        Column::from(micros.into_datetime(TimeUnit::Microseconds, None).into_series())
    };
    let status = |r: &Record| if r.completed() { "completed" } else { "failed" }.to_string();
    let mut columns = vec![
        column("trial", text(&|r| r.trial.clone())),
        column("config", text(&|r| r.config.clone())),
        column("seed", records.iter().map(|r| r.seed).collect::<Vec<u64>>()),
    ];
    columns.extend(swept.iter().map(|name| param(name, records)));
    columns.extend([
        column("status", text(&status)),
        column("error", records.iter().map(|r| r.error.clone()).collect::<Vec<Option<String>>>()),
        column("loss", records.iter().map(|r| r.loss.first().copied()).collect::<Vec<Option<f64>>>()),
    ]);
    for (i, name) in metrics.iter().enumerate() {
        columns.push(column(name, records.iter().map(|r| r.metrics.get(i).copied()).collect::<Vec<Option<f64>>>()));
    }
    columns.push(column("iterations", records.iter().map(|r| r.iterations as u64).collect::<Vec<u64>>()));
    columns.push(time("started", &|r| r.started));
    columns.push(time("finished", &|r| r.finished));
    let seconds = |r: &Record| r.duration_s.first().copied();
    columns.push(column("duration_s", records.iter().map(seconds).collect::<Vec<Option<f64>>>()));
    DataFrame::new_infer_height(columns)
}

fn history_of(records: &[Record], metrics: &[String]) -> PolarsResult<DataFrame> {
    let width = metrics.len() + 1;
    let trials: Vec<&str> = records.iter().flat_map(|r| r.history.iter().map(|_| r.trial.as_str())).collect();
    let iterations: Vec<u64> = records.iter().flat_map(|r| r.history.iter().map(|&i| i as u64)).collect();
    let mut columns = vec![column("trial", trials), column("iteration", iterations)];
    for (i, name) in std::iter::once("loss").chain(metrics.iter().map(String::as_str)).enumerate() {
        let values = records.iter().flat_map(|r| r.history_values.iter().skip(i).step_by(width).copied());
        columns.push(column(name, values.collect::<Vec<f64>>()));
    }
    // Configurations may have different layers, so that a column may be missing for some trials.
    let mut watched: Vec<&str> = Vec::new();
    for (name, _) in records.iter().flat_map(|r| &r.watched) {
        if !watched.contains(&name.as_str()) {
            watched.push(name);
        }
    }
    for name in watched {
        let of = |r: &Record| -> Vec<Option<f64>> {
            match r.watched.iter().find(|(other, _)| other == name) {
                Some((_, values)) => values.iter().copied().map(Some).collect(),
                None => vec![None; r.history.len()],
            }
        };
        columns.push(column(name, records.iter().flat_map(of).collect::<Vec<Option<f64>>>()));
    }
    DataFrame::new_infer_height(columns)
}

#[derive(Default)]
struct TraceRows<'a> {
    trial: Vec<&'a str>,
    sample: Vec<u32>,
    step: Vec<u32>,
    channel: Vec<u32>,
    values: [Vec<Option<f32>>; 4],
}

fn traces_of(records: &[Record]) -> PolarsResult<DataFrame> {
    let mut rows = TraceRows::default();
    for record in records {
        let Some(traces) = &record.traces else { continue };
        let sequences = [&traces.input, &traces.target, &traces.untrained, &traces.output];
        let widths = sequences.map(|values| values.len() / (traces.steps * traces.samples).max(1));
        for (row, sample, step) in
            (0..traces.samples).flat_map(|s| (0..traces.steps).map(move |t| (s * traces.steps + t, s, t)))
        {
            for channel in 0..widths.into_iter().max().unwrap_or(0) {
                rows.trial.push(&record.trial);
                rows.sample.push(sample as u32);
                rows.step.push(step as u32);
                rows.channel.push(channel as u32);
                for ((to, from), width) in rows.values.iter_mut().zip(sequences).zip(widths) {
                    to.push((channel < width).then(|| from[row * width + channel]));
                }
            }
        }
    }
    let [input, target, untrained, output] = rows.values;
    DataFrame::new_infer_height(vec![
        column("trial", rows.trial),
        column("sample", rows.sample),
        column("step", rows.step),
        column("channel", rows.channel),
        column("input", input),
        column("target", target),
        column("untrained", untrained),
        column("output", output),
    ])
}

fn layers_of(records: &[Record]) -> PolarsResult<DataFrame> {
    let (mut trial, mut layer, mut neuron, mut step) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut mem, mut spk): (Vec<Option<f32>>, Vec<Option<f32>>) = (Vec::new(), Vec::new());
    for (record, trace) in records.iter().flat_map(|r| r.layers.iter().map(move |trace| (r, trace))) {
        let cells = trace.mem.len().max(trace.spk.len());
        for cell in 0..cells {
            trial.push(record.trial.as_str());
            layer.push(trace.layer.as_str());
            neuron.push((cell % trace.neurons) as u32);
            step.push((cell / trace.neurons) as u32);
            mem.push(trace.mem.get(cell).copied());
            spk.push(trace.spk.get(cell).copied());
        }
    }
    let sample = vec![0u32; trial.len()];
    DataFrame::new_infer_height(vec![
        column("trial", trial),
        column("sample", sample),
        column("layer", layer),
        column("neuron", neuron),
        column("step", step),
        column("mem", mem),
        column("spk", spk),
    ])
}
