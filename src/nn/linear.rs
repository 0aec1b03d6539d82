//! The dense layer `y = x W^T + b`, alone and in front of neurons.

use super::fused::Form;
use super::init::Initialiser;
use super::layer::{Layer, LayerPlan, Learning, Lookup, Memoryless, ParameterPlan, Parameters, Recipe};
use crate::keys;
use crate::spec::Component;
use crate::spec::component::Kind;
use crate::spec::key::Flat;
use crate::tensor::{Backend, Recorder, Steps, TensorError};
use std::sync::Arc;

keys! {
    /// The keys of dense weights.
    pub struct WeightKeys {
        /// whether a bias is added
        pub bias: bool = flag().or(true),
        /// how weights and bias begin
        pub init: Component = component(Kind::Initialiser).or_named("torch_linear"),
    }
}

keys! {
    /// The keys of the dense layer.
    pub struct LinearKeys {
        /// outputs
        size: usize = at_least(1),
        /// its weights
        weights: Flat<WeightKeys> = flat(),
        /// how it learns
        learning: Flat<Learning> = flat(),
    }
}

/// Dense weights, and a bias beside them.
pub struct DenseWeights {
    bias: bool,
    /// How the weight begins, and the bias.
    begins: [Arc<dyn Initialiser>; 2],
    learning: Learning,
}

impl DenseWeights {
    /// Of their keys.
    pub fn new(keys: &WeightKeys, learning: &Learning, parts: &dyn Lookup) -> DenseWeights {
        let begins = [false, true].map(|bias| parts.initialiser(&keys.init, bias));
        DenseWeights { bias: keys.bias, begins, learning: learning.clone() }
    }

    /// Weight `[size, inputs]` and bias `[size]`; `fan_in` is what their initial values are scaled by.
    pub fn parameters(&self, size: usize, inputs: usize, fan_in: usize) -> Vec<ParameterPlan> {
        let [weight, bias] = &self.begins;
        let plan = |name: &str, shape: Vec<usize>, begins: &Arc<dyn Initialiser>| ParameterPlan {
            fan_in,
            ..ParameterPlan::new(name, shape, begins.clone(), &self.learning)
        };
        let mut list = vec![ParameterPlan { decays: true, ..plan("weight", vec![size, inputs], weight) }];
        list.extend(self.bias.then(|| plan("bias", vec![size], bias)));
        list
    }
}

/// `x W^T + b` over all steps at once; without a weight the input itself.
pub fn project<D: Backend>(
    parameters: &Parameters<D>,
    input: &Steps<D>,
    recorder: &mut Recorder<D>,
) -> Result<Steps<D>, TensorError> {
    let Some(weight) = parameters.get("weight") else { return Ok(input.clone()) };
    let data = recorder.dense(&input.data, weight, parameters.get("bias"))?;
    Ok(Steps { data, ..*input })
}

/// The dense layer.
pub struct Linear {
    size: usize,
    dense: DenseWeights,
}

impl Linear {
    /// Of its keys.
    pub fn new(keys: LinearKeys, parts: &dyn Lookup) -> Linear {
        Linear { size: keys.size, dense: DenseWeights::new(&keys.weights, &keys.learning, parts) }
    }
}

impl Recipe for Linear {
    fn plan(&self, inputs: usize) -> LayerPlan {
        let parameters = self.dense.parameters(self.size, inputs, inputs);
        LayerPlan { parameters, ..LayerPlan::new(inputs, self.size, "current") }
    }

    fn fused(&self) -> Option<Form> {
        Some(Form::Dense)
    }

    fn on<D: Backend>(&self) -> Box<dyn Layer<D>> {
        Memoryless::boxed("current", |parameters, input, recorder| Ok(project(parameters, input, recorder)?.data))
    }
}
