//! What a layer is: a plan that is known before anything is computed, and the computation on a device.

use super::init::Initialiser;
use crate::neuron::Program;
use crate::neuron::reference::{Carry, Segment};
use crate::spec::tree::Table;
use crate::tensor::{Backend, Matrix, Recorder, Steps, TensorError};
use std::collections::HashMap;
use std::sync::Arc;

/// A layer as it will be, before parameters are drawn.
#[derive(Clone)]
pub struct LayerPlan {
    /// Its name in the network.
    pub name: String,
    /// Name in the registry.
    pub kind: String,
    /// Inputs a step.
    pub inputs: usize,
    /// Neurons, or outputs.
    pub size: usize,
    /// Into how many blocks its input is cut, one for each input of its neurons.
    pub blocks: usize,
    /// The signal it hands on.
    pub output: String,
    /// All signals it has, each of width `size`.
    pub signals: Vec<String>,
    /// Its parameters, in the order in which they are drawn.
    pub parameters: Vec<ParameterPlan>,
}

/// A parameter as it will be.
#[derive(Clone)]
pub struct ParameterPlan {
    /// Its name in the layer: `weight`, `beta`, ...
    pub name: String,
    /// Its shape in PyTorch's orientation: `[out, in]`, `[neurons]`, or `[1]` for one value a layer.
    pub shape: Vec<usize>,
    /// Inputs that a weight sums over; 1 for others.
    pub fan_in: usize,
    /// How it begins.
    pub init: Arc<dyn Initialiser>,
    /// Whether training changes it.
    pub learn: bool,
    /// Its own learning rate, or else the optimizer's.
    pub lr: Option<f64>,
    /// Whether weight decay acts on it; it does on weights only.
    pub decays: bool,
    /// Limits that it is put back to after each update.
    pub project: Option<(f64, f64)>,
    /// Limits at which it has no effect any more, or is put back.
    pub bounds: Option<(f64, f64)>,
}

impl ParameterPlan {
    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As a matrix: weights as they are, everything else as a row.
    pub fn matrix_shape(&self) -> (usize, usize) {
        match self.shape.as_slice() {
            [rows, columns] => (*rows, *columns),
            _ => (1, self.len()),
        }
    }
}

/// A layer's fused form: a neuron program behind dense weights, or the weights alone.
pub enum Form {
    /// Neurons.
    Neurons(Program),
    /// The dense layer.
    Dense,
}

/// A kind of layer, as the registry holds it.
pub trait LayerKind: Send + Sync {
    /// The plan for checked keys and a number of inputs.
    fn plan(&self, args: &Table, inputs: usize, initialisers: &dyn Initialisers) -> LayerPlan;

    /// Its fused form, if it has one.
    fn fused(&self, args: &Table, surrogates: &dyn Surrogates) -> Option<Form>;

    /// Whether it has a fused form, which a plan asks of every configuration.
    fn has_fused(&self, args: &Table, surrogates: &dyn Surrogates) -> bool {
        self.fused(args, surrogates).is_some()
    }

    /// The layer on a device.
    fn on<D: Backend>(&self, args: &Table, surrogates: &dyn Surrogates) -> Box<dyn Layer<D>>
    where
        Self: Sized;
}

/// Looks up initialisers.
pub trait Initialisers {
    /// The initialiser of a name with its argument in `args`; `bias` asks for that of a bias beside weights.
    fn initialiser(&self, kind: &str, args: &Table, bias: bool) -> Arc<dyn Initialiser>;
}

/// Looks up surrogates by their checked tables.
pub trait Surrogates {
    /// The derivative over `x`.
    fn surrogate(&self, args: &Table) -> crate::formula::Expr;
}

/// A layer on a device. It owns no parameters: they are the network's, by name.
pub trait Layer<D: Backend>: Send {
    /// Runs a segment of time. `wanted` says which signals are gathered; with `tbptt` no gradient of a state goes back
    /// over a step whose number is a multiple of it.
    fn forward(
        &self,
        parameters: &HashMap<String, Matrix<D>>,
        input: &Steps<D>,
        carry: Option<Carry<D>>,
        tbptt: Option<usize>,
        wanted: &dyn Fn(&str) -> bool,
        recorder: &mut Recorder<D>,
    ) -> Result<Segment<D>, TensorError>;
}
