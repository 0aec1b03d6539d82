//! Dense weights, `y = x W^T + b`, alone and in front of neurons.

use super::fused::Form;
use super::init::Initialiser;
use super::layer::{Inputs, Layer, LayerPlan, Learning, Lookup, Memoryless, ParameterPlan, Recipe};
use crate::keys;
use crate::spec::Component;
use crate::spec::component::Kind;
use crate::spec::key::Flat;
use crate::tensor::Backend;
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

    /// A weight `[size, channels]` for each source, and a bias `[size]`. Their initial values are scaled by `fan_in`, or
    /// else by what they sum over: the channels of a source, for the bias all of them.
    pub fn parameters(&self, size: usize, inputs: &Inputs, fan_in: Option<usize>) -> Vec<ParameterPlan> {
        let [weight, bias] = &self.begins;
        let plan = |name: &str, shape: Vec<usize>, sums: usize, begins: &Arc<dyn Initialiser>| ParameterPlan {
            fan_in: fan_in.unwrap_or(sums),
            ..ParameterPlan::new(name, shape, begins.clone(), &self.learning)
        };
        let weight = |(name, width): &(String, usize)| ParameterPlan {
            decays: true,
            ..plan(name, vec![size, *width], *width, weight)
        };
        let mut list: Vec<ParameterPlan> = inputs.weights().iter().map(weight).collect();
        list.extend(self.bias.then(|| plan("bias", vec![size], inputs.total(), bias)));
        list
    }
}

/// The dense layer: what comes through its weights.
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
    fn plan(&self, inputs: &Inputs) -> LayerPlan {
        let parameters = self.dense.parameters(self.size, inputs, None);
        LayerPlan { parameters, weighted: true, ..LayerPlan::new(inputs.total(), self.size, "current") }
    }

    fn fused(&self) -> Option<Form> {
        Some(Form::Dense)
    }

    fn on<D: Backend>(&self) -> Box<dyn Layer<D>> {
        Memoryless::boxed("current", |_, input, _| Ok(input.data.clone()))
    }
}
