//! Datasets: sequences of inputs and targets, drawn from a seed.

pub mod function;

use crate::random::Draws;
use std::ops::Range;

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
}

/// Some samples and steps of [`Data`], borrowed.
#[derive(Debug, Clone, Copy)]
pub struct DataView<'a> {
    /// Time steps.
    pub steps: usize,
    /// Samples.
    pub samples: usize,
    /// Input values, `[time, samples, inputs]`.
    pub inputs: &'a [f32],
    /// Target values, `[time, samples, targets]`.
    pub targets: &'a [f32],
}

impl<'a> DataView<'a> {
    /// Some of its steps.
    pub fn steps(self, range: Range<usize>) -> DataView<'a> {
        let cut = |values: &'a [f32]| {
            let row = values.len() / self.steps.max(1);
            &values[range.start * row..range.end * row]
        };
        DataView { steps: range.len(), inputs: cut(self.inputs), targets: cut(self.targets), ..self }
    }
}

impl Data {
    /// Data of so many steps and samples; values `[time, samples, channels]`.
    pub fn new(steps: usize, samples: usize, inputs: Vec<f32>, targets: Vec<f32>) -> Data {
        Data { steps, samples, inputs, targets }
    }

    /// All of it.
    pub fn view(&self) -> DataView<'_> {
        DataView { steps: self.steps, samples: self.samples, inputs: &self.inputs, targets: &self.targets }
    }

    /// Puts the samples with these indices, in their order, into `to`, whose memory is used again.
    pub fn pick(&self, indices: impl Iterator<Item = usize> + Clone, to: &mut Data) {
        let pick = |values: &[f32], to: &mut Vec<f32>| {
            let width = values.len() / (self.steps * self.samples).max(1);
            to.clear();
            for step in values.chunks_exact((self.samples * width).max(1)) {
                indices.clone().for_each(|i| to.extend_from_slice(&step[i * width..(i + 1) * width]));
            }
        };
        (to.steps, to.samples) = (self.steps, indices.clone().count());
        pick(&self.inputs, &mut to.inputs);
        pick(&self.targets, &mut to.targets);
    }
}
