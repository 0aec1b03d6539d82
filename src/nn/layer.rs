//! What a layer is: a recipe, which its keys give; a plan, known before anything is computed; and the computation on a
//! device.

use super::init::Initialiser;
use crate::formula::Expr;
use crate::keys;
use crate::neuron::StepProgram;
use crate::neuron::reference::{Carry, Pass, Segment};
use crate::spec::Component;
use crate::tensor::{Backend, Matrix, Recorder, Steps, TensorError};
use dfdx::prelude::Cpu;
use std::collections::HashMap;
use std::sync::Arc;

keys! {
    /// The keys that say how a layer learns.
    pub struct Learning {
        /// whether training changes anything of this layer
        pub learn: bool = flag().or(true),
        /// the layer's own learning rate
        pub lr: Option<f64> = number(Range::POSITIVE).optional(),
    }
}

/// What a layer reads: the channels of each of its sources, and what weights of its own are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    sources: Vec<(String, usize)>,
}

impl Inputs {
    /// One source, whose weights are called `weight`.
    pub fn one(width: usize) -> Inputs {
        Inputs { sources: vec![("weight".into(), width)] }
    }

    /// Several, by the names of their weights.
    pub fn of(sources: Vec<(String, usize)>) -> Inputs {
        Inputs { sources }
    }

    /// Channels of its input, if sources are summed; then all of them have as many.
    pub fn width(&self) -> usize {
        self.sources.first().map_or(0, |(_, width)| *width)
    }

    /// Channels of all sources together.
    pub fn total(&self) -> usize {
        self.sources.iter().map(|(_, width)| width).fold(0usize, |sum, width| sum.saturating_add(*width))
    }

    /// The names of weights, each with the channels that it reads.
    pub fn weights(&self) -> &[(String, usize)] {
        &self.sources
    }
}

/// A signal that a layer reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePlan {
    /// The layer and which of its signals; none for the data.
    pub from: Option<(usize, usize)>,
    /// Whole steps by which it comes later; before the first step it is zero.
    pub delay: usize,
    /// Its channels.
    pub width: usize,
    /// The name of its weights, if it has any.
    pub weight: String,
}

/// A layer as it will be, before parameters are drawn.
#[derive(Clone, PartialEq)]
pub struct LayerPlan {
    /// Its name in the network, which gives it.
    pub name: String,
    /// Its name in the registry, which the network gives too.
    pub kind: String,
    /// What it reads, which the network gives, too.
    pub sources: Vec<SourcePlan>,
    /// Whether each source has weights of its own; else they are summed as they are.
    pub weighted: bool,
    /// Inputs a step, of all sources that have weights of their own, or of the sum of those that have none.
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

impl LayerPlan {
    /// A layer of one signal, without parameters.
    pub fn new(inputs: usize, size: usize, signal: &str) -> LayerPlan {
        LayerPlan {
            name: String::new(),
            kind: String::new(),
            sources: Vec::new(),
            weighted: false,
            inputs,
            size,
            blocks: 1,
            output: signal.into(),
            signals: vec![signal.into()],
            parameters: Vec::new(),
        }
    }

    /// Which of its signals it hands on.
    pub fn handed_on(&self) -> usize {
        self.signals.iter().position(|signal| *signal == self.output).unwrap_or(0)
    }

    /// Its signals by path.
    pub fn paths(&self) -> Vec<String> {
        self.signals.iter().map(|signal| format!("{}.{signal}", self.name)).collect()
    }
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

/// Two of them are equal if they are held alike, however they begin.
impl PartialEq for ParameterPlan {
    fn eq(&self, other: &Self) -> bool {
        let held = |of: &Self| (of.fan_in, of.learn, of.lr, of.decays, of.project, of.bounds);
        (&self.name, &self.shape, held(self)) == (&other.name, &other.shape, held(other))
    }
}

impl ParameterPlan {
    /// A parameter that training changes like the rest of its layer.
    pub fn new(name: &str, shape: Vec<usize>, init: Arc<dyn Initialiser>, learning: &Learning) -> ParameterPlan {
        ParameterPlan {
            name: name.into(),
            shape,
            fan_in: 1,
            init,
            learn: learning.learn,
            lr: learning.lr,
            decays: false,
            project: None,
            bounds: None,
        }
    }

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
#[derive(Clone, PartialEq)]
pub enum Form {
    /// Neurons.
    Neurons(StepProgram),
    /// The dense layer.
    Dense,
}

/// A layer as its keys describe it.
pub trait Recipe: Send + Sync + 'static {
    /// The plan for what it reads.
    fn plan(&self, inputs: &Inputs) -> LayerPlan;

    /// Its fused form. A network that has a layer without one runs on the tape.
    fn fused(&self) -> Option<Form> {
        None
    }

    /// Whether it has a fused form, which a plan asks of every configuration.
    fn has_fused(&self) -> bool {
        self.fused().is_some()
    }

    /// The layer on a device.
    fn on<D: Backend>(&self) -> Box<dyn Layer<D>>
    where
        Self: Sized;
}

/// A recipe whatever it is of, as the registry gives it.
pub trait AnyLayer: Send + Sync {
    /// As [`Recipe::plan`].
    fn plan(&self, inputs: &Inputs) -> LayerPlan;

    /// As [`Recipe::fused`].
    fn fused(&self) -> Option<Form>;

    /// As [`Recipe::has_fused`].
    fn has_fused(&self) -> bool;

    /// The layer on the processor.
    fn cpu(&self) -> Box<dyn Layer<Cpu>>;

    /// The layer on a GPU.
    #[cfg(feature = "cuda")]
    fn cuda(&self) -> Box<dyn Layer<dfdx::prelude::Cuda>>;
}

impl<R: Recipe> AnyLayer for R {
    fn plan(&self, inputs: &Inputs) -> LayerPlan {
        Recipe::plan(self, inputs)
    }

    fn fused(&self) -> Option<Form> {
        Recipe::fused(self)
    }

    fn has_fused(&self) -> bool {
        Recipe::has_fused(self)
    }

    fn cpu(&self) -> Box<dyn Layer<Cpu>> {
        self.on()
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self) -> Box<dyn Layer<dfdx::prelude::Cuda>> {
        self.on()
    }
}

/// What a layer's keys name beside numbers and words.
pub trait Lookup {
    /// An initialiser; `bias` asks for that of a bias beside weights.
    fn initialiser(&self, component: &Component, bias: bool) -> Arc<dyn Initialiser>;

    /// The derivative of a surrogate over `x`.
    fn surrogate(&self, component: &Component) -> Expr;
}

/// A layer that keeps nothing from step to step: a function of its input and its parameters.
pub struct Memoryless<F> {
    signal: String,
    function: F,
}

/// Parameters by name.
pub type Parameters<D> = HashMap<String, Matrix<D>>;

impl<F> Memoryless<F> {
    /// A layer that gives one signal, `[time * batch, size]`, all steps at once.
    pub fn boxed<D: Backend>(signal: &str, function: F) -> Box<dyn Layer<D>>
    where
        F: Fn(&Parameters<D>, &Steps<D>, &mut Recorder<D>) -> Result<Matrix<D>, TensorError> + Send + 'static,
    {
        Box::new(Memoryless { signal: signal.into(), function })
    }
}

impl<D: Backend, F> Layer<D> for Memoryless<F>
where
    F: Fn(&Parameters<D>, &Steps<D>, &mut Recorder<D>) -> Result<Matrix<D>, TensorError> + Send,
{
    fn forward(
        &self,
        parameters: &Parameters<D>,
        input: &Steps<D>,
        _: Option<Carry<D>>,
        _: &Pass,
        recorder: &mut Recorder<D>,
    ) -> Result<Segment<D>, TensorError> {
        let data = (self.function)(parameters, input, recorder)?;
        let signals = HashMap::from([(self.signal.clone(), Steps { data, ..*input })]);
        Ok(Segment { signals, carry: HashMap::new() })
    }
}

/// A layer on a device. It owns no parameters: they are the network's, by name.
pub trait Layer<D: Backend>: Send {
    /// Runs a segment of time, for what `pass` says. `input` is the sum of its sources, each through its weights where
    /// they have any.
    fn forward(
        &self,
        parameters: &Parameters<D>,
        input: &Steps<D>,
        carry: Option<Carry<D>>,
        pass: &Pass,
        recorder: &mut Recorder<D>,
    ) -> Result<Segment<D>, TensorError>;
}
