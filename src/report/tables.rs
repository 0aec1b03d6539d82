//! The tables of a result folder as plain structs.

use crate::store::columns::{FilledGrid, StoredTable};
use crate::store::manifest::Manifest;
use crate::store::ranking::{Ranked, rank};
use crate::store::record::RATE;
use crate::store::tables::{layer_grids, summary, trace_grids};
use crate::store::{StoreError, SummaryRow};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// All that a report shows of the tables.
#[derive(Debug, Default)]
pub struct Results {
    /// A trial each, in the order of the table.
    pub trials: Vec<TrialRow>,
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
pub struct TrialRow {
    /// Its id.
    pub id: String,
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
    /// Metrics by the order of columns.
    pub metrics: Vec<Option<f64>>,
    /// Updates done.
    pub iterations: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Iteration and loss of each row of its history.
    pub history: Vec<(f64, f64)>,
    /// Iteration and learning rate, where it changes.
    pub rates: Vec<(f64, f64)>,
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
    pub fn read(dir: &Path, manifest: &Manifest) -> Result<Results, StoreError> {
        let ((trials, history), (traces, (layers, baselines))) = rayon::join(
            || rayon::join(|| summary(dir, manifest), || history(dir)),
            || rayon::join(|| traces(dir), || rayon::join(|| layers(dir), || baselines(dir))),
        );
        let mut histories = history?;
        let trial = |row: SummaryRow| {
            let History { losses, rates } = histories.remove(&row.trial).unwrap_or_default();
            TrialRow {
                history: losses,
                rates,
                id: row.trial,
                config: row.config,
                params: row.params,
                seed: row.seed,
                parameters: row.parameters,
                error: row.error,
                loss: row.loss,
                metrics: row.metrics,
                iterations: row.iterations,
                seconds: row.seconds,
            }
        };
        let trials = trials?.into_iter().map(trial).collect();
        Ok(Results { trials, traces: traces?, layers: layers?, baselines: baselines? })
    }

    /// Configurations, the best first.
    pub fn ranked(&self, manifest: &Manifest) -> Vec<Ranked> {
        let row = |trial: &TrialRow| SummaryRow {
            trial: trial.id.clone(),
            config: trial.config.clone(),
            params: trial.params.clone(),
            seed: trial.seed,
            parameters: trial.parameters,
            error: trial.error.clone(),
            loss: trial.loss,
            metrics: trial.metrics.clone(),
            iterations: trial.iterations,
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
        let trials: Vec<TrialRow> = self.trials.into_iter().filter(|trial| configs.contains(&trial.config)).collect();
        let ids: HashSet<&str> = trials.iter().map(|trial| trial.id.as_str()).collect();
        let (mut traces, mut baselines) = (self.traces, self.baselines);
        traces.retain(|trace| ids.contains(trace.trial.as_str()));
        baselines.retain(|row| ids.contains(row.trial.as_str()));
        Results { trials, traces, layers: self.layers, baselines }
    }

    /// Trials that ran to their end.
    pub fn completed(&self) -> impl Iterator<Item = &TrialRow> {
        self.trials.iter().filter(|trial| trial.error.is_none())
    }
}

/// A table that every folder has.
fn table(dir: &Path, name: &str, only: Option<&[&str]>) -> Result<StoredTable, StoreError> {
    let path = dir.join(name);
    match path.exists() {
        true => StoredTable::read(dir, name, only),
        false => Err(StoreError::Io { path, error: std::io::ErrorKind::NotFound.into() }),
    }
}

/// What a trial recorded while it was trained.
#[derive(Default)]
struct History {
    /// Iteration and loss of each row.
    losses: Vec<(f64, f64)>,
    /// Iteration and learning rate, where that changes.
    rates: Vec<(f64, f64)>,
}

/// The history of each trial.
fn history(dir: &Path) -> Result<HashMap<String, History>, StoreError> {
    let source = table(dir, "history.parquet", Some(&["trial", "iteration", "loss", RATE]))?;
    let mut found: HashMap<String, History> = HashMap::new();
    if source.is_empty() {
        return Ok(found);
    }
    let (iterations, losses) = (source.counts("iteration")?, source.numbers("loss")?);
    let rates = if source.has(RATE) { source.numbers(RATE)? } else { vec![None; losses.len()] };
    for (trial, rows) in source.runs("trial", usize::MAX)? {
        let places = || iterations[rows.clone()].iter().map(|i| *i as f64);
        let history = found.entry(trial).or_default();
        history.losses.extend(places().zip(losses[rows.clone()].iter().map(|loss| loss.unwrap_or(f64::NAN))));
        history.rates.extend(places().zip(&rates[rows.clone()]).filter_map(|(place, rate)| Some((place, (*rate)?))));
    }
    Ok(found)
}

fn traces(dir: &Path) -> Result<Vec<TrialTraces>, StoreError> {
    let source = table(dir, "traces.parquet", None)?;
    let grids = trace_grids(&source)?;
    if grids.is_empty() {
        return Ok(Vec::new());
    }
    let names = ["input", "target", "untrained", "output"];
    let columns = names.iter().map(|name| numbers(&source, name)).collect::<Result<Vec<_>, StoreError>>()?;
    let of_trial = |grid: FilledGrid<3>| {
        let [samples, steps, channels] = grid.sizes;
        // Of a sequence the channels that have values, up to the last step at which one does.
        let sequence = |column: &[Option<f64>], sample: usize| -> Vec<Vec<f64>> {
            let cell = |step: usize, channel: usize| column[grid.rows[(sample * steps + step) * channels + channel]];
            let there = |step: &usize| (0..channels).any(|channel| cell(*step, channel).is_some());
            let end = (0..steps).rev().find(there).map_or(0, |last| last + 1);
            let used = |channel: &usize| (0..end).any(|step| cell(step, *channel).is_some());
            let width = (0..channels).rev().find(used).map_or(0, |last| last + 1);
            let values = |channel: usize| (0..end).map(|step| cell(step, channel).unwrap_or(f64::NAN)).collect();
            (0..width).map(values).collect()
        };
        let of_sample = |sample: usize| Sample {
            input: sequence(&columns[0], sample),
            target: sequence(&columns[1], sample),
            untrained: sequence(&columns[2], sample),
            output: sequence(&columns[3], sample),
        };
        TrialTraces { samples: (0..samples).map(of_sample).collect(), trial: grid.name }
    };
    Ok(grids.into_iter().map(of_trial).collect())
}

/// A column of numbers; what is not finite can be drawn as little as what is missing.
fn numbers(source: &StoredTable, name: &str) -> Result<Vec<Option<f64>>, StoreError> {
    Ok(source.numbers(name)?.into_iter().map(|value| value.filter(|value| (*value as f32).is_finite())).collect())
}

/// Folders of earlier versions, and experiments whose data come from formulas, have none.
fn baselines(dir: &Path) -> Result<Vec<Baseline>, StoreError> {
    let source = StoredTable::read(dir, "baselines.parquet", None)?;
    if source.is_empty() {
        return Ok(Vec::new());
    }
    let (trials, names) = (source.texts("trial")?, source.texts("baseline")?);
    let titles = source.names_but(&["trial", "baseline"]);
    let columns = titles.into_iter().map(|name| Ok((source.numbers(&name)?, name)));
    let columns = columns.collect::<Result<Vec<_>, StoreError>>()?;
    let row = |(i, (trial, name)): (usize, (String, String))| {
        let metrics = columns.iter().map(|(values, name)| (name.clone(), values[i].unwrap_or(f64::NAN)));
        Baseline { trial, name, metrics: metrics.collect() }
    };
    Ok(trials.into_iter().zip(names).enumerate().map(row).collect())
}

fn layers(dir: &Path) -> Result<Vec<LayerStates>, StoreError> {
    let source = table(dir, "layers.parquet", None)?;
    let grids = layer_grids(&source)?;
    if grids.is_empty() {
        return Ok(Vec::new());
    }
    let (mem, spk, trials) = (numbers(&source, "mem")?, numbers(&source, "spk")?, source.texts("trial")?);
    let of_layer = |grid: FilledGrid<2>| {
        let [neurons, steps] = grid.sizes;
        // Of neurons that have values those at each step.
        let states = |column: &[Option<f64>]| -> Vec<Vec<f64>> {
            let cell = |neuron: usize, step: usize| column[grid.rows[neuron * steps + step]];
            let used = |neuron: &usize| (0..steps).any(|step| cell(*neuron, step).is_some());
            let width = (0..neurons).rev().find(used).map_or(0, |last| last + 1);
            let values = |neuron: usize| (0..steps).map(|step| cell(neuron, step).unwrap_or(f64::NAN)).collect();
            (0..width).map(values).collect()
        };
        LayerStates { trial: trials[grid.rows[0]].clone(), mem: states(&mem), spk: states(&spk), name: grid.name }
    };
    Ok(grids.into_iter().map(of_layer).collect())
}
