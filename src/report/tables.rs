//! The tables of a result folder as plain structs.

use super::ReportError;
use crate::store::SummaryRow;
use crate::store::manifest::Manifest;
use crate::store::ranking::{Ranked, rank};
use polars::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

/// All that a report shows of the tables.
#[derive(Debug, Default)]
pub struct Results {
    /// A trial each, in the order of the table.
    pub trials: Vec<Trial>,
    /// Inputs, targets and outputs of the first samples, for the trials that have them.
    pub traces: Vec<TrialTraces>,
    /// States of each layer of the first trial.
    pub layers: Vec<LayerStates>,
    /// What needs no network, where it was scored while trials ran.
    pub baselines: Vec<Baseline>,
}

/// A prediction without a network, for the data of a trial.
#[derive(Debug, Default)]
pub struct Baseline {
    /// The trial.
    pub trial: String,
    /// Its name.
    pub name: String,
    /// Metrics by name.
    pub metrics: Vec<(String, f64)>,
}

/// A trial.
#[derive(Debug, Default, Clone)]
pub struct Trial {
    /// Its id.
    pub id: String,
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
    /// Metrics by the order of columns.
    pub metrics: Vec<Option<f64>>,
    /// Updates done.
    pub iterations: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Iteration and loss of each row of its history.
    pub history: Vec<(f64, f64)>,
}

/// Sequences of a trial.
#[derive(Debug, Default)]
pub struct TrialTraces {
    /// The trial.
    pub trial: String,
    /// A sample each.
    pub samples: Vec<Sample>,
}

/// A sample: for each channel a value a step.
#[derive(Debug, Default)]
pub struct Sample {
    /// Input channels.
    pub input: Vec<Vec<f64>>,
    /// Target channels.
    pub target: Vec<Vec<f64>>,
    /// Output channels before training.
    pub untrained: Vec<Vec<f64>>,
    /// Output channels after training.
    pub output: Vec<Vec<f64>>,
}

/// A layer's states, `[neuron][step]`.
#[derive(Debug, Default)]
pub struct LayerStates {
    /// The trial.
    pub trial: String,
    /// Its name.
    pub name: String,
    /// Membrane potentials.
    pub mem: Vec<Vec<f64>>,
    /// Spikes.
    pub spk: Vec<Vec<f64>>,
}

impl Results {
    /// Reads the tables of a folder.
    pub fn read(dir: &Path) -> Result<Results, ReportError> {
        let ((trials, history), (traces, (layers, baselines))) = rayon::join(
            || {
                rayon::join(
                    || trials(&Source::open(dir, "trials.parquet")?),
                    || history(&Source::open(dir, "history.parquet")?),
                )
            },
            || {
                rayon::join(
                    || traces(&Source::open(dir, "traces.parquet")?),
                    || rayon::join(|| layers(&Source::open(dir, "layers.parquet")?), || baselines(dir)),
                )
            },
        );
        let mut trials = trials?;
        let mut rows = history?.into_iter().peekable();
        for trial in &mut trials {
            // Rows of a trial lie together, in the order of trials; a trial may have none.
            while let Some((_, iteration, loss)) = rows.next_if(|(id, ..)| *id == trial.id) {
                trial.history.push((iteration, loss));
            }
        }
        Ok(Results { trials, traces: traces?, layers: layers?, baselines: baselines? })
    }

    /// Configurations, the best first.
    pub fn ranked(&self, manifest: &Manifest) -> Vec<Ranked> {
        let row = |trial: &Trial| SummaryRow {
            trial: trial.id.clone(),
            config: trial.config.clone(),
            params: trial.params.clone(),
            seed: trial.seed,
            error: trial.error.clone(),
            loss: trial.loss,
            metrics: trial.metrics.clone(),
            seconds: trial.seconds,
        };
        rank(&self.trials.iter().map(row).collect::<Vec<_>>(), manifest)
    }

    /// What belongs to the trials of some seeds.
    pub fn on(mut self, seeds: &BTreeSet<u64>) -> Results {
        self.trials.retain(|trial| seeds.contains(&trial.seed));
        let ids: HashSet<&str> = self.trials.iter().map(|trial| trial.id.as_str()).collect();
        self.traces.retain(|trace| ids.contains(trace.trial.as_str()));
        self.baselines.retain(|row| ids.contains(row.trial.as_str()));
        self
    }

    /// What belongs to the trials of some configurations; the states of layers stay, whosever they are.
    pub fn of(self, configs: &[String]) -> Results {
        let configs: HashSet<&String> = configs.iter().collect();
        let trials: Vec<Trial> = self.trials.into_iter().filter(|trial| configs.contains(&trial.config)).collect();
        let ids: HashSet<&str> = trials.iter().map(|trial| trial.id.as_str()).collect();
        let (mut traces, mut baselines) = (self.traces, self.baselines);
        traces.retain(|trace| ids.contains(trace.trial.as_str()));
        baselines.retain(|row| ids.contains(row.trial.as_str()));
        Results { trials, traces, layers: self.layers, baselines }
    }

    /// Trials that ran to their end.
    pub fn completed(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|trial| trial.error.is_none())
    }
}

struct Source {
    path: std::path::PathBuf,
    table: DataFrame,
}

impl Source {
    fn open(dir: &Path, name: &str) -> Result<Source, ReportError> {
        let path = dir.join(name);
        let failed = |error: String| ReportError::Table { path: path.clone(), error };
        let file = crate::spec::source::open(&path).map_err(|error| failed(error.to_string()))?;
        let table = ParquetReader::new(file).finish().map_err(|error| failed(error.to_string()))?;
        Ok(Source { path, table })
    }

    fn failed(&self, error: PolarsError) -> ReportError {
        ReportError::Table { path: self.path.clone(), error: error.to_string() }
    }

    fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>, ReportError> {
        let column = self.table.column(name).map_err(|e| self.failed(e))?;
        let cast = column.cast(&DataType::Float64).map_err(|e| self.failed(e))?;
        Ok(cast.f64().map_err(|e| self.failed(e))?.iter().collect())
    }

    /// Dimensions that were swept, each with its values as text.
    fn params(&self) -> Result<Vec<(String, Vec<String>)>, ReportError> {
        let columns = self.table.columns().iter().filter_map(|c| Some((c.name().strip_prefix("param.")?, c)));
        let values = |(name, column): (&str, &Column)| {
            let column = column.cast(&DataType::String).map_err(|e| self.failed(e))?;
            let texts = column.str().map_err(|e| self.failed(e))?;
            Ok((name.to_string(), texts.iter().map(|text| text.unwrap_or("").to_string()).collect()))
        };
        columns.map(values).collect()
    }

    /// The place that a row names, of which none is left out before, so that it is no larger than the row's own.
    fn place(&self, named: Option<f64>, row: usize) -> Result<usize, ReportError> {
        let place = named.unwrap_or(0.0);
        if !(0.0..=row as f64).contains(&place) {
            let error = format!(
                "row {} has the number {place}, and there are {row} rows before it; the table is damaged",
                row + 1
            );
            return Err(ReportError::Table { path: self.path.clone(), error });
        }
        Ok(place as usize)
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, ReportError> {
        Ok(self.optional_texts(name)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn optional_texts(&self, name: &str) -> Result<Vec<Option<String>>, ReportError> {
        let column = self.table.column(name).map_err(|e| self.failed(e))?;
        Ok(column.str().map_err(|e| self.failed(e))?.iter().map(|text| text.map(String::from)).collect())
    }
}

fn trials(source: &Source) -> Result<Vec<Trial>, ReportError> {
    let names = source.table.get_column_names();
    let after = names.iter().position(|name| name.as_str() == "loss").map_or(0, |i| i + 1);
    let until = names.iter().position(|name| name.as_str() == "iterations").unwrap_or(after);
    let metrics =
        names[after..until].iter().map(|name| source.numbers(name.as_str())).collect::<Result<Vec<_>, _>>()?;
    let (ids, errors) = (source.texts("trial")?, source.optional_texts("error")?);
    // Not by way of other numbers, which have no room for large seeds.
    let seeds = source.table.column("seed").and_then(|column| column.u64().cloned()).map_err(|e| source.failed(e))?;
    let (losses, iterations, seconds) =
        (source.numbers("loss")?, source.numbers("iterations")?, source.numbers("duration_s")?);
    let configs = source.texts("config")?;
    let params = source.params()?;
    let trial = |(i, id): (usize, String)| Trial {
        id,
        config: configs[i].clone(),
        params: params.iter().map(|(name, values)| (name.clone(), values[i].clone())).collect(),
        seed: seeds.get(i).unwrap_or(0),
        error: errors[i].clone(),
        loss: losses[i],
        metrics: metrics.iter().map(|column| column[i]).collect(),
        iterations: iterations[i].unwrap_or(0.0) as u64,
        seconds: seconds[i].unwrap_or(0.0),
        history: Vec::new(),
    };
    Ok(ids.into_iter().enumerate().map(trial).collect())
}

/// Trial, iteration and loss of each row.
fn history(source: &Source) -> Result<Vec<(String, f64, f64)>, ReportError> {
    if source.table.width() == 0 {
        return Ok(Vec::new());
    }
    let (iterations, losses) = (source.numbers("iteration")?, source.numbers("loss")?);
    let rows = source.texts("trial")?.into_iter().zip(iterations).zip(losses);
    Ok(rows.map(|((id, iteration), loss)| (id, iteration.unwrap_or(0.0), loss.unwrap_or(f64::NAN))).collect())
}

fn traces(source: &Source) -> Result<Vec<TrialTraces>, ReportError> {
    let (ids, samples, channels) = (source.texts("trial")?, source.numbers("sample")?, source.numbers("channel")?);
    let columns = ["input", "target", "untrained", "output"];
    let columns = columns.iter().map(|name| source.numbers(name)).collect::<Result<Vec<_>, _>>()?;
    let mut list: Vec<TrialTraces> = Vec::new();
    for (row, id) in ids.into_iter().enumerate() {
        if list.last().is_none_or(|last| last.trial != id) {
            list.push(TrialTraces { trial: id, samples: Vec::new() });
        }
        let Some(trial) = list.last_mut() else { continue };
        let (sample, channel) = (source.place(samples[row], row)?, source.place(channels[row], row)?);
        if trial.samples.len() <= sample {
            trial.samples.resize_with(sample + 1, Sample::default);
        }
        let sample = &mut trial.samples[sample];
        let sequences = [&mut sample.input, &mut sample.target, &mut sample.untrained, &mut sample.output];
        for (sequence, column) in sequences.into_iter().zip(&columns) {
            if let Some(value) = column[row] {
                if sequence.len() <= channel {
                    sequence.resize_with(channel + 1, Vec::new);
                }
                sequence[channel].push(value);
            }
        }
    }
    Ok(list)
}

/// Folders of earlier versions, and experiments whose data come from formulas, have none.
fn baselines(dir: &Path) -> Result<Vec<Baseline>, ReportError> {
    if !dir.join("baselines.parquet").exists() {
        return Ok(Vec::new());
    }
    let source = Source::open(dir, "baselines.parquet")?;
    if source.table.width() == 0 {
        return Ok(Vec::new());
    }
    let (trials, names) = (source.texts("trial")?, source.texts("baseline")?);
    let titles = source.table.get_column_names().into_iter().skip(2).map(|name| name.to_string());
    let columns = titles.map(|name| Ok((source.numbers(&name)?, name))).collect::<Result<Vec<_>, ReportError>>()?;
    let row = |(i, (trial, name)): (usize, (String, String))| {
        let metrics = columns.iter().map(|(values, name)| (name.clone(), values[i].unwrap_or(f64::NAN)));
        Baseline { trial, name, metrics: metrics.collect() }
    };
    Ok(trials.into_iter().zip(names).enumerate().map(row).collect())
}

fn layers(source: &Source) -> Result<Vec<LayerStates>, ReportError> {
    let (names, trials, neurons) = (source.texts("layer")?, source.texts("trial")?, source.numbers("neuron")?);
    let (mem, spk) = (source.numbers("mem")?, source.numbers("spk")?);
    let mut list: Vec<LayerStates> = Vec::new();
    for (row, name) in names.into_iter().enumerate() {
        if list.last().is_none_or(|last| last.name != name) {
            list.push(LayerStates { name, trial: trials[row].clone(), ..LayerStates::default() });
        }
        let Some(layer) = list.last_mut() else { continue };
        let neuron = source.place(neurons[row], row)?;
        for (states, value) in [(&mut layer.mem, mem[row]), (&mut layer.spk, spk[row])] {
            if let Some(value) = value {
                if states.len() <= neuron {
                    states.resize_with(neuron + 1, Vec::new);
                }
                states[neuron].push(value);
            }
        }
    }
    Ok(list)
}
