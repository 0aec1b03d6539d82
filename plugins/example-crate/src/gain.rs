//! A learned factor for each channel: `y = gain * x` at every step.

use runner::dfdx::prelude::TryMul;
use runner::nn::init::Constant;
use runner::nn::layer::{Inputs, Layer, LayerPlan, Learning, Memoryless, ParameterPlan, Recipe};
use runner::tensor::Backend;

/// The layer, which has the keys of every layer that learns.
pub struct Gain(pub Learning);

impl Recipe for Gain {
    fn plan(&self, inputs: &Inputs) -> LayerPlan {
        let gain = ParameterPlan::new("gain", vec![inputs.width()], Constant::of(1.0), &self.0);
        LayerPlan { parameters: vec![gain], ..LayerPlan::new(inputs.width(), inputs.width(), "current") }
    }

    fn on<D: Backend>(&self) -> Box<dyn Layer<D>> {
        Memoryless::boxed("current", |parameters, x, recorder| {
            let gain = recorder.expand(&parameters["gain"], x.rows(), x.width())?;
            recorder.binary(&x.data, &gain, |x, gain| x.try_mul(gain))
        })
    }
}
