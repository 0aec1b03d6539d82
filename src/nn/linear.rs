//! The dense layer `y = x W^T + b`, alone and in front of neurons.

use super::fused::Form;
use super::layer::{Initialisers, Layer, LayerKind, LayerPlan, ParameterPlan, Surrogates};
use crate::neuron::reference::{Carry, Segment};
use crate::spec::component::Kind;
use crate::spec::fields::{Field, Range, Type};
use crate::spec::tree::{Node, Table, Value};
use crate::tensor::{Backend, Matrix, Recorder, Steps, TensorError};
use std::collections::HashMap;

/// The dense layer.
pub struct LinearKind;

/// The keys of dense weights.
pub fn weight_fields() -> Vec<Field> {
    let init = Value::Text("torch_linear".into());
    vec![
        Field::default("bias", Type::Bool, Value::Bool(true), "whether a bias is added"),
        Field::default("init", Type::Component(Kind::Initialiser), init, "how weights and bias begin"),
    ]
}

/// The keys that say how a layer learns.
pub fn learning_fields() -> Vec<Field> {
    vec![
        Field::default("learn", Type::Bool, Value::Bool(true), "whether training changes anything of this layer"),
        Field::optional("lr", Type::Number(Range::POSITIVE), "the layer's own learning rate"),
    ]
}

/// The keys of the dense layer.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![Field::required("size", Type::at_least(1), "outputs")];
    fields.extend(weight_fields());
    fields.extend(learning_fields());
    fields
}

/// Weight and bias of a dense projection of a layer; `fan_in` is what their initial values are scaled by.
pub fn weights(
    args: &Table,
    size: usize,
    inputs: usize,
    fan_in: usize,
    initialisers: &dyn Initialisers,
) -> Vec<ParameterPlan> {
    let empty = Table::default();
    let init = args.get("init").and_then(Node::as_table).unwrap_or(&empty);
    let plan = |name: &str, shape: Vec<usize>, decays: bool| ParameterPlan {
        name: name.into(),
        shape,
        fan_in,
        init: initialisers.initialiser(init.text("kind").unwrap_or_default(), init, !decays),
        learn: args.flag("learn"),
        lr: args.get("lr").and_then(Node::as_number),
        decays,
        project: None,
        bounds: None,
    };
    let mut list = vec![plan("weight", vec![size, inputs], true)];
    if args.flag("bias") {
        list.push(plan("bias", vec![size], false));
    }
    list
}

/// `x W^T + b` over all steps at once; without a weight the input itself.
pub fn project<D: Backend>(
    parameters: &HashMap<String, Matrix<D>>,
    input: &Steps<D>,
    recorder: &mut Recorder<D>,
) -> Result<Steps<D>, TensorError> {
    let Some(weight) = parameters.get("weight") else { return Ok(input.clone()) };
    let data = recorder.dense(&input.data, weight, parameters.get("bias"))?;
    Ok(Steps { data, ..*input })
}

impl LayerKind for LinearKind {
    fn plan(&self, args: &Table, inputs: usize, initialisers: &dyn Initialisers) -> LayerPlan {
        let size = args.whole("size");
        LayerPlan {
            name: args.string("name"),
            kind: args.string("kind"),
            inputs,
            size,
            blocks: 1,
            output: "current".into(),
            signals: vec!["current".into()],
            parameters: weights(args, size, inputs, inputs, initialisers),
        }
    }

    fn fused(&self, _: &Table, _: &dyn Surrogates) -> Option<Form> {
        Some(Form::Dense)
    }

    fn on<D: Backend>(&self, _: &Table, _: &dyn Surrogates) -> Box<dyn Layer<D>> {
        Box::new(Linear)
    }
}

struct Linear;

impl<D: Backend> Layer<D> for Linear {
    fn forward(
        &self,
        parameters: &HashMap<String, Matrix<D>>,
        input: &Steps<D>,
        _: Option<Carry<D>>,
        _: Option<usize>,
        _: &dyn Fn(&str) -> bool,
        recorder: &mut Recorder<D>,
    ) -> Result<Segment<D>, TensorError> {
        let current = project(parameters, input, recorder)?;
        Ok(Segment { signals: HashMap::from([("current".to_string(), current)]), carry: HashMap::new() })
    }
}
