//! Datasets: sequences of inputs and targets, drawn from a seed or read from a file.
//!
//! A dataset gives all samples; `prepared` cuts them into parts (`split`), in units that are fitted to the part that is
//! trained on (`scale`). `file` reads tables, `memory` says how much of them fits, `table` and `series` make samples of their rows.

pub mod encode;
pub mod file;
pub mod function;
pub mod memory;
pub mod prepared;
pub mod scale;
pub mod series;
pub mod split;
pub mod table;
mod vacant;

use crate::random::Draws;
use crate::spec::DataSpec;
use crate::spec::key::Placed;
use crate::spec::source::{Sources, Span};
use scale::{Line, Scale, Transform};
use split::{Part, Reach};
use std::ops::Range;
use std::sync::Arc;

/// What a dataset gives, known before anything is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataShape {
    /// Time steps of a sample.
    pub steps: usize,
    /// Samples.
    pub samples: usize,
    /// Names of the input channels.
    pub inputs: Vec<String>,
    /// Names of the target channels.
    pub targets: Vec<String>,
}

/// Why a dataset cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DataError(pub String);

/// What a dataset of files is read with, beside its own keys.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// The texts of the experiment; paths are relative to the file that they stand in.
    pub sources: &'a Sources,
    /// Where the dataset stands.
    pub at: Span,
    /// The column that says the part of each row, where one does.
    pub parts: Option<&'a Placed<String>>,
    /// Whether targets are not known, as `runner predict` reads rows.
    pub unlabelled: bool,
}

impl<'a> Reading<'a> {
    /// Of the dataset of an experiment.
    pub fn of(spec: &'a DataSpec, sources: &'a Sources) -> Reading<'a> {
        let parts = spec.common.split.as_ref().and_then(|split| split.value.column.as_ref());
        Reading { sources, at: spec.component.span, parts, unlabelled: spec.unlabelled }
    }
}

/// A dataset with its keys read.
pub trait Dataset: Send + Sync {
    /// Its shape.
    fn shape(&self) -> DataShape;

    /// Draws and computes it.
    ///
    /// # Errors
    /// Where it comes from outside of the program and does not come.
    fn draw(&self, draws: &mut dyn Draws) -> Result<Data, DataError>;

    /// A digest of what it reads beside its keys, such as a file; it enters the identity of trials.
    fn content(&self) -> Option<String> {
        None
    }

    /// The program that it comes from, as messages name it; such data cannot be known before they are given.
    fn program(&self) -> Option<String> {
        None
    }

    /// Units fitted to these samples; none for a dataset that has none of its own.
    ///
    /// # Errors
    /// Where a column does not vary in them.
    fn fit(&self, train: &[usize]) -> Result<Option<Scale>, DataError> {
        let _ = train;
        Ok(None)
    }

    /// [`Dataset::draw`], in units that were fitted.
    ///
    /// # Errors
    /// As [`Dataset::draw`].
    fn draw_in(&self, scale: &Scale, draws: &mut dyn Draws) -> Result<Data, DataError> {
        let _ = scale;
        self.draw(draws)
    }

    /// The rows of a long record that each sample reads, where samples overlap.
    fn reach(&self) -> Option<Reach> {
        None
    }

    /// The part of each sample, or of each row of the record where samples have a [`Dataset::reach`], where a column of
    /// the file says it.
    fn parts(&self) -> Option<Vec<Part>> {
        None
    }

    /// Outputs that are predictions, `time * samples + sample`, each with the row of the file that it predicts, from 0.
    /// Empty for a dataset that has no rows.
    fn predicted(&self) -> Vec<(usize, usize)> {
        Vec::new()
    }
}

/// Inputs and targets, time first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Data {
    /// Time steps.
    pub steps: usize,
    /// Samples.
    pub samples: usize,
    /// Input values, `[time, samples, inputs]`.
    pub inputs: Vec<f32>,
    /// Target values, `[time, samples, targets]`.
    pub targets: Vec<f32>,
    /// How much each step counts in losses, `[time, samples]`: 1 on average, 0 for one that does not count, and then
    /// not in metrics either. Empty where all count alike.
    pub weights: Vec<f32>,
    /// What is known of the targets at each step, in their own units or transformed as these are, `[time, samples, targets]`; empty where nothing is.
    pub latest: Vec<f64>,
    /// Targets in their own units, as a file has them, `[time, samples, targets]`; empty where the targets that the
    /// network sees are in these.
    pub own: Vec<f64>,
    /// How targets come back into their own units; none where they are in these.
    pub units: Option<Arc<Units>>,
}

/// How targets as a network sees them come back into their own units.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Units {
    /// The line of each input; empty where they are spikes.
    pub inputs: Vec<Line>,
    /// The line of each target.
    pub targets: Vec<Line>,
    /// Whether they are changes since the latest known values.
    pub difference: bool,
    /// What was done to all numbers before that.
    pub transform: Transform,
}

/// Some samples and steps of [`Data`], borrowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct DataView<'a> {
    /// Time steps.
    pub steps: usize,
    /// Samples.
    pub samples: usize,
    /// Input values, `[time, samples, inputs]`.
    pub inputs: &'a [f32],
    /// Target values, `[time, samples, targets]`.
    pub targets: &'a [f32],
    /// How much each step counts, `[time, samples]`; empty where all count alike.
    pub weights: &'a [f32],
}

impl<'a> DataView<'a> {
    /// Some of its steps.
    pub fn steps(self, range: Range<usize>) -> DataView<'a> {
        let cut = |values: &'a [f32]| {
            let row = values.len() / self.steps.max(1);
            &values[range.start * row..range.end * row]
        };
        let (inputs, targets, weights) = (cut(self.inputs), cut(self.targets), cut(self.weights));
        DataView { steps: range.len(), samples: self.samples, inputs, targets, weights }
    }
}

impl Data {
    /// Data of so many steps and samples; values `[time, samples, channels]`.
    pub fn new(steps: usize, samples: usize, inputs: Vec<f32>, targets: Vec<f32>) -> Data {
        Data { steps, samples, inputs, targets, ..Data::default() }
    }

    /// All of it.
    pub fn view(&self) -> DataView<'_> {
        let Data { steps, samples, inputs, targets, weights, .. } = self;
        DataView { steps: *steps, samples: *samples, inputs, targets, weights }
    }

    /// Puts the samples with these indices, in their order, into `to`, whose memory is used again.
    pub fn pick(&self, indices: impl Iterator<Item = usize> + Clone, to: &mut Data) {
        (to.steps, to.samples) = (self.steps, indices.clone().count());
        self.pick_of(&self.inputs, indices.clone(), &mut to.inputs);
        self.pick_of(&self.targets, indices.clone(), &mut to.targets);
        self.pick_of(&self.weights, indices.clone(), &mut to.weights);
        self.pick_of(&self.latest, indices.clone(), &mut to.latest);
        self.pick_of(&self.own, indices, &mut to.own);
        to.units.clone_from(&self.units);
    }

    /// The samples with these indices of values `[time, samples, width]`.
    fn pick_of<T: Copy>(&self, values: &[T], indices: impl Iterator<Item = usize> + Clone, to: &mut Vec<T>) {
        let width = values.len() / (self.steps * self.samples).max(1);
        to.clear();
        for step in values.chunks_exact((self.samples * width).max(1)) {
            indices.clone().for_each(|i| to.extend_from_slice(&step[i * width..(i + 1) * width]));
        }
    }

    /// Makes the weights 1 on average, so that a loss is the mean over the steps that count.
    pub fn normalise(&mut self) {
        let sum: f32 = self.weights.iter().sum();
        if sum > 0.0 {
            let factor = self.weights.len() as f32 / sum;
            self.weights.iter_mut().for_each(|weight| *weight *= factor);
        }
    }

    /// Target channels.
    pub fn channels(&self) -> usize {
        self.targets.len() / (self.steps * self.samples).max(1)
    }

    /// Whether a step, `time * samples + sample`, counts.
    pub fn counts(&self, row: usize) -> bool {
        self.weights.get(row).is_none_or(|weight| *weight > 0.0)
    }

    /// Puts inputs, `[time, samples, inputs]`, back into their own units.
    pub fn inputs_in_own_units(&self) -> Vec<f64> {
        let Some(units) = self.units.as_ref().filter(|units| !units.inputs.is_empty()) else {
            return self.inputs.iter().copied().map(f64::from).collect();
        };
        let lines = &units.inputs;
        let own = |(i, value): (usize, &f32)| units.transform.undo(lines[i % lines.len()].undo(f64::from(*value)));
        self.inputs.iter().enumerate().map(own).collect()
    }

    /// Targets or outputs as the network sees them, `[time, samples, targets]`, in their own units; into `own`, whose
    /// memory is used again.
    pub fn in_own_units(&self, values: &[f32], own: &mut Vec<f64>) {
        own.clear();
        own.extend(values.iter().map(|value| f64::from(*value)));
        let Some(units) = &self.units else { return };
        let channels = units.targets.len().max(1);
        for (i, value) in own.iter_mut().enumerate() {
            let latest = if units.difference { self.latest[i] } else { 0.0 };
            *value = units.transform.undo(latest + units.targets[i % channels].undo(*value));
        }
    }

    /// Targets in their own units, `[time, samples, targets]`, as a file has them; into `own`.
    pub fn targets_in_own_units(&self, own: &mut Vec<f64>) {
        if self.own.is_empty() {
            return self.in_own_units(&self.targets, own);
        }
        own.clone_from(&self.own);
    }

    /// What is known of the targets at each step, in their own units.
    pub fn latest_in_own_units(&self) -> Vec<f64> {
        let transform = self.units.as_ref().map_or(Transform::None, |units| units.transform);
        self.latest.iter().map(|value| transform.undo(*value)).collect()
    }
}
