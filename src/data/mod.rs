//! Datasets: sequences of inputs and targets, drawn from a seed.

pub mod function;

use crate::random::Draws;

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

/// A dataset with its keys read.
pub trait Dataset: Send + Sync {
    /// Its shape.
    fn shape(&self) -> DataShape;

    /// Draws and computes it.
    fn draw(&self, draws: &mut dyn Draws) -> Data;
}

/// Inputs and targets, time first.
#[derive(Debug, Clone, PartialEq)]
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

impl Data {
    /// The samples with these indices, in their order.
    pub fn batch(&self, indices: &[usize]) -> Data {
        let pick = |values: &[f32]| {
            let width = values.len() / (self.steps * self.samples).max(1);
            let mut picked = Vec::with_capacity(self.steps * indices.len() * width);
            for step in values.chunks_exact((self.samples * width).max(1)) {
                indices.iter().for_each(|&i| picked.extend_from_slice(&step[i * width..(i + 1) * width]));
            }
            picked
        };
        Data { steps: self.steps, samples: indices.len(), inputs: pick(&self.inputs), targets: pick(&self.targets) }
    }
}
