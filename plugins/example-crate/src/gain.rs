//! A learned factor for each channel: `y = gain * x` at every step.

use runner::dfdx::prelude::TryMul;
use runner::neuron::reference::{Carry, Segment};
use runner::nn::fused::Form;
use runner::nn::init::Constant;
use runner::nn::layer::{Initialisers, Layer, LayerKind, LayerPlan, ParameterPlan, Surrogates};
use runner::nn::linear::learning_fields;
use runner::spec::fields::Field;
use runner::spec::tree::{Node, Table};
use runner::tensor::{Backend, Matrix, Recorder, Steps, TensorError};
use std::collections::HashMap;
use std::sync::Arc;

/// The keys of `kind = "gain"`.
pub fn fields() -> Vec<Field> {
    learning_fields()
}

/// The layer.
pub struct Gain;

impl LayerKind for Gain {
    fn plan(&self, args: &Table, inputs: usize, _: &dyn Initialisers) -> LayerPlan {
        let gain = ParameterPlan {
            name: "gain".into(),
            shape: vec![inputs],
            fan_in: 1,
            init: Arc::new(Constant(1.0)),
            learn: args.flag("learn"),
            lr: args.get("lr").and_then(Node::as_number),
            decays: false,
            project: None,
            bounds: None,
        };
        LayerPlan {
            name: args.string("name"),
            kind: args.string("kind"),
            inputs,
            size: inputs,
            blocks: 1,
            output: "current".into(),
            signals: vec!["current".into()],
            parameters: vec![gain],
        }
    }

    /// None: a network with this layer runs on the tape.
    fn fused(&self, _: &Table, _: &dyn Surrogates) -> Option<Form> {
        None
    }

    fn on<D: Backend>(&self, _: &Table, _: &dyn Surrogates) -> Box<dyn Layer<D>> {
        Box::new(Gain)
    }
}

impl<D: Backend> Layer<D> for Gain {
    fn forward(
        &self,
        parameters: &HashMap<String, Matrix<D>>,
        input: &Steps<D>,
        _: Option<Carry<D>>,
        _: Option<usize>,
        _: &dyn Fn(&str) -> bool,
        recorder: &mut Recorder<D>,
    ) -> Result<Segment<D>, TensorError> {
        let gain = recorder.expand(&parameters["gain"], input.steps * input.batch, input.width())?;
        let data = recorder.binary(&input.data, &gain, |x, gain| x.try_mul(gain))?;
        let current = Steps { data, ..*input };
        Ok(Segment { signals: HashMap::from([("current".to_string(), current)]), carry: HashMap::new() })
    }
}
