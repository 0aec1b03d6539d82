//! `manifest.json`: what was run, with what, where and when; everything a reader needs that is not a table.
//!
//! It is the only file of a result folder that says which files are ours, so `--fresh` deletes by its list.

use super::weighed::Weighed;
use crate::spec::check::is_name;
use crate::statistics::Mean;
use crate::statistics::precision::Precision;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// The version of the folder's layout; a folder with a later one is refused.
pub const FORMAT: u32 = 1;

/// Contents of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of the folder, [`FORMAT`].
    pub format: u32,
    /// Name of the experiment.
    pub name: String,
    /// One sentence about it, from the file; may be empty.
    pub about: String,
    /// Digest of all that the trials of this folder share; only a run of the same identity may add to it.
    pub identity: String,
    /// Digest of the latest request, if a request of the same digest means the same trials.
    #[serde(default)]
    pub request: Option<String>,
    /// What the ids of its trials were made from beside the experiment.
    #[serde(default)]
    pub parts: IdentityParts,
    /// How values are laid over the experiment ([`LAYING`](crate::spec::sweep::LAYING)); manifests before it was said lay them in the first way.
    #[serde(default = "first_laying")]
    pub laying: u32,
    /// The file of the latest run; paths in the experiment are relative to it.
    #[serde(default)]
    pub experiment: String,
    /// The resolved study as TOML, defaults written out.
    pub spec: String,
    /// Text of each plugin that was used and is not built in, by file name.
    pub plugins: BTreeMap<String, String>,
    /// The command that repeats the run.
    pub command: String,
    /// Names of the dimensions that are swept.
    #[serde(default)]
    pub swept: Vec<String>,
    /// What makes one configuration better than another.
    #[serde(default)]
    pub objective: RankedBy,
    /// How many seeds are enough, where results decide that.
    #[serde(default)]
    pub sampling: Option<Sampling>,
    /// The trials that were asked for, where results decided that; else all that the folder has.
    #[serde(default)]
    pub entrants: Option<Entrants>,
    /// The race that dropped configurations, if there was one.
    #[serde(default)]
    pub race: Option<RaceResult>,
    /// What the network of the first configuration is, for people: one entry a layer.
    pub layers: Vec<LayerSummary>,
    /// Learned and fixed parameters of the network, numbers in all.
    pub parameters: usize,
    /// The dataset, for people.
    pub data: DataSummary,
    /// How the loss and each metric are called and read, in the order of the columns.
    pub loss: Quantity,
    /// The metrics, in the order of their columns in `trials.parquet`.
    pub metrics: Vec<Quantity>,
    /// Program, machine and device.
    pub environment: Environment,
    /// Start of the first run, RFC 3339, UTC.
    pub started: String,
    /// End of the latest run; none while one is going on.
    pub finished: Option<String>,
    /// State of the study.
    pub status: StudyStatus,
    /// Trials that the latest plan asks for.
    pub planned: usize,
    /// Files of this folder that we wrote, relative to it, but for weights; earlier manifests list these too.
    pub files: Vec<String>,
    /// The trials whose weights the folder may keep.
    #[serde(default)]
    pub weights: Vec<Weighed>,
    /// Rows of each table when this was written; earlier manifests do not say.
    #[serde(default)]
    pub rows: BTreeMap<String, usize>,
}

fn first_laying() -> u32 {
    1
}

/// Trials that a study may have, and seeds of one configuration; more are no study of this program's.
const MOST: usize = 10_000_000;

impl Manifest {
    /// The mean that says something of what ranks configurations.
    pub fn objective_mean(&self) -> Mean {
        let ranks = self.metrics.iter().find(|metric| metric.name == self.objective.name);
        ranks.map_or(Mean::Geometric, Quantity::mean)
    }

    /// Makes sure that its numbers are ones that can be counted by and its names ones that it has, wherever it comes from.
    ///
    /// # Errors
    /// What is wrong with it, where something is.
    pub fn check(&self) -> Result<(), String> {
        let counted = |what: &str, n: usize| match n {
            n if n > MOST => Err(format!("`{what}` is {n}, and at most {MOST} is possible")),
            _ => Ok(()),
        };
        counted("planned", self.planned)?;
        counted("weights", usize::try_from(self.weights_counted()).unwrap_or(usize::MAX))?;
        let measured = |what: &str, name: &str| match name == "loss" || self.metrics.iter().any(|m| m.name == name) {
            true => Ok(()),
            false => Err(format!("`{what}` is {name:?}, which is neither the loss nor among `metrics`")),
        };
        measured("objective.name", &self.objective.name)?;
        if let Some(Sampling { metric, precision, from }) = &self.sampling {
            measured("sampling.metric", metric)?;
            counted("sampling.precision.max", precision.max)?;
            if precision.min == 0 || precision.min > precision.max || from.checked_add(precision.max as u64).is_none() {
                let (min, max) = (precision.min, precision.max);
                return Err(format!("`sampling` is of {min} to {max} seeds from {from} on, which are none"));
            }
        }
        if let Some(Entrants { seeds, configs }) = &self.entrants
            && let Some((config, n)) = configs.iter().find(|(_, n)| **n > seeds.len())
        {
            return Err(format!("`entrants` has {} seeds, and {n} of them for {config:?}", seeds.len()));
        }
        if let Some(name) = self.layers.iter().map(|layer| &layer.name).find(|name| !is_name(name)) {
            return Err(format!("`layers` has {name:?}, which is no name"));
        }
        let times = [Some(&self.started), self.finished.as_ref()];
        match times.into_iter().flatten().find(|time| humantime::parse_rfc3339_weak(time).is_err()) {
            Some(time) => Err(format!("{time:?} is no time such as 2026-01-31T12:00:00Z")),
            None => Ok(()),
        }
    }

    /// What ran the neurons of its trials. The environment has it too, but only once a first run has ended.
    pub fn executor(&self) -> &str {
        if self.parts.executor.is_empty() { &self.environment.executor } else { &self.parts.executor }
    }

    /// The class of device that its trials ran on.
    pub fn device(&self) -> &str {
        if self.parts.device.is_empty() { &self.environment.device } else { &self.parts.device }
    }
}

impl Manifest {
    /// The trials whose weights the folder may keep. Earlier manifests list them one by one, among their files.
    pub fn weighed(&self) -> HashSet<String> {
        let listed = self.files.iter().filter_map(|name| weights_id(name)).map(String::from);
        listed.chain(self.weights.iter().flat_map(Weighed::trials)).collect()
    }

    /// Lets the folder keep the weights of more trials.
    pub fn weigh(&mut self, more: Weighed) {
        if !self.weights.iter_mut().any(|there| there.absorb(&more)) {
            self.weights.push(more);
        }
        // Only earlier manifests have weights among their files.
        if self.files.iter().any(|name| weights_id(name).is_some()) {
            let there: HashSet<String> = self.weights.iter().flat_map(Weighed::trials).collect();
            self.files.retain(|name| weights_id(name).is_none_or(|id| !there.contains(id)));
        }
    }

    /// How many weights it speaks of.
    pub fn weights_counted(&self) -> u128 {
        self.weights.iter().map(Weighed::count).sum()
    }
}

/// The trial that a file of weights is of.
fn weights_id(name: &str) -> Option<&str> {
    name.strip_prefix("weights/")?.strip_suffix(".safetensors")
}

/// What determines results and does not stand in the experiment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityParts {
    /// What ran the neurons.
    pub executor: String,
    /// The class of device.
    pub device: String,
    /// A digest of what the dataset reads, if it reads anything.
    pub content: Option<String>,
    /// Each component with its version of meaning, or the digest of its text.
    pub components: BTreeMap<String, String>,
}

/// What makes one configuration better than another: the median over its seeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedBy {
    /// `loss`, or a metric.
    pub name: String,
    /// Whether more is better.
    pub maximize: bool,
}

impl Default for RankedBy {
    /// The loss, which is lowered.
    fn default() -> Self {
        RankedBy { name: "loss".into(), maximize: false }
    }
}

/// How many seeds each configuration needs, where that was left to the results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// The loss or metric whose mean is to be known.
    pub metric: String,
    /// How well.
    pub precision: Precision,
    /// The first seed.
    pub from: u64,
}

/// The trials that a request asked for, where results decided which these are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entrants {
    /// The seeds, in the order in which they were run.
    pub seeds: Vec<u64>,
    /// The configurations by their ids, each with the number of these seeds that it was run on.
    pub configs: BTreeMap<String, usize>,
}

/// How a race of configurations went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RaceResult {
    /// Numbers of seeds at which configurations were compared; none where nothing was dropped by a rule.
    pub looks: Vec<usize>,
    /// The rule, in words.
    pub rule: String,
    /// The configurations that were dropped, in the order in which they were.
    pub dropped: Vec<Dropped>,
    /// The configuration that won, once all looks were taken.
    pub winner: Option<String>,
    /// Seeds that nothing was chosen on, on which the winner was run again.
    pub fresh: Vec<u64>,
}

/// A configuration that was dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Its id.
    pub config: String,
    /// After so many seeds.
    pub seeds: usize,
    /// How often chance alone makes it as much worse than the best.
    pub p: f64,
}

/// State of a study when the manifest was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudyStatus {
    /// Trials are being trained, or the process was killed.
    Running,
    /// Every planned trial has ended, completed or failed.
    Finished,
    /// Stopped by a signal.
    Interrupted,
}

/// One layer for the report and `runner check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// Name of the layer.
    pub name: String,
    /// Its kind: a neuron, or a layer such as `linear`.
    pub kind: String,
    /// Inputs a step.
    pub inputs: usize,
    /// Neurons, or outputs.
    pub size: usize,
    /// Signal that it hands on: `spikes`, `membrane`, ...
    pub output: String,
    /// Parameters by name with their shape, in PyTorch's orientation.
    pub parameters: Vec<(String, Vec<usize>)>,
    /// Firing threshold of the trained first trial, averaged over the neurons, if the layer has one.
    pub threshold: Option<f64>,
}

/// The dataset for the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Its kind.
    pub kind: String,
    /// Time steps of a sample.
    pub steps: usize,
    /// Samples.
    pub samples: usize,
    /// Names of the input channels.
    pub inputs: Vec<String>,
    /// Names of the target channels.
    pub targets: Vec<String>,
    /// How it is split, in words.
    #[serde(default)]
    pub split: Option<String>,
    /// The parts and their samples; none without a split.
    #[serde(default)]
    pub parts: Vec<(String, usize)>,
    /// Which weights are kept.
    #[serde(default)]
    pub selected: String,
}

/// A loss or metric, as a reader of tables needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantity {
    /// Name of its column.
    pub name: String,
    /// What it is, in one sentence.
    pub about: String,
    /// Its unit: `1` for a pure number, otherwise in terms of the target's unit.
    pub unit: String,
    /// Whether lower values are better.
    pub lower_is_better: bool,
}

impl Quantity {
    /// The mean that says something of it.
    pub fn mean(&self) -> Mean {
        Mean::of(self.lower_is_better)
    }
}

/// Program, machine and device of the latest run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of the program.
    pub runner: String,
    /// Digest of the binary.
    pub binary: String,
    /// Operating system and architecture.
    pub platform: String,
    /// Vector instructions that the processor has and the numerics may use.
    pub instructions: String,
    /// Processor's name.
    pub processor: String,
    /// Host's name.
    pub host: String,
    /// Device: `cpu` or `cuda`.
    pub device: String,
    /// Executor of the neurons.
    pub executor: String,
    /// Git commit of the folder that the experiment lies in, if any.
    pub git_commit: Option<String>,
    /// Whether that folder had changes that are not committed; folders of earlier versions say so.
    pub git_dirty: Option<bool>,
}
