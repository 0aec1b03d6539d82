//! What computes a trial's losses and gradients: on dfdx's tape, on any device, or fused, on the processor.

pub mod fused;
pub mod tape;

use crate::data::Data;
use crate::tensor::TensorError;
use crate::train::optimizer::Update;
use std::borrow::Cow;

/// A parameter's path, its shape in PyTorch's orientation, and its values.
pub type ParameterValues = (String, Vec<usize>, Vec<f32>);

/// A network with its losses and optimizer.
pub trait Machine {
    /// The loss of some samples. Signals that are `wanted`, by path, can be read until the next call;
    /// `backward` may follow where `keep` says so.
    fn forward(&mut self, batch: &Data, wanted: &dyn Fn(&str) -> bool, keep: bool) -> Result<f64, TensorError>;

    /// A signal of the last forward pass: its width, and its values `[time, samples, width]`.
    fn signal(&self, path: &str) -> Option<(usize, Cow<'_, [f32]>)>;

    /// Whether forward passes look at all signals and states for numbers that are not finite.
    fn inspect(&mut self, on: bool);

    /// A parameter, or something that the optimizer remembers, that is not finite, in words.
    fn broken(&self) -> Result<Option<String>, TensorError>;

    /// A signal or state of the last pass that was [inspected](Machine::inspect), that is not finite, in words.
    fn broken_signal(&self) -> Option<String>;

    /// Gradients of the last loss.
    fn backward(&mut self, batch: &Data) -> Result<(), TensorError>;

    /// The Euclidean norm of the gradients of all parameters that learn, together.
    fn gradient_norm(&mut self) -> Result<f64, TensorError>;

    /// One update by the last gradients.
    fn update(&mut self, update: Update) -> Result<(), TensorError>;

    /// The parameters.
    fn parameters(&self) -> Vec<ParameterValues>;

    /// Replaces the parameters' values, in the order of [`Machine::parameters`].
    fn set_parameters(&mut self, values: &[Vec<f32>]) -> Result<(), TensorError>;

    /// What the optimizer remembers of the gradients before.
    fn moments(&self) -> Result<Vec<Vec<f32>>, TensorError>;

    /// Replaces what the optimizer remembers, in the order of [`Machine::moments`]; says whether it fits.
    fn set_moments(&mut self, moments: &[Vec<f32>]) -> Result<bool, TensorError>;

    /// The gradients of the last backward pass, in the order of [`Machine::parameters`].
    fn gradients(&mut self) -> Result<Vec<Vec<f32>>, TensorError>;
}
