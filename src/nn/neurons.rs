//! A layer of neurons: dense weights from its input, if it has a `size`, and a neuron model over time.

use super::init::Constant;
use super::layer::{Initialisers, Layer, LayerKind, LayerPlan, ParameterPlan, Surrogates};
use super::linear::{learning_fields, project, weight_fields, weights};
use crate::formula::Expr;
use crate::neuron::program::Program;
use crate::neuron::reference::{self, Carry, Segment};
use crate::neuron::{Model, model::ParamDecl};
use crate::spec::component::Kind;
use crate::spec::fields::{Field, PARAMETER_OPTIONS, Type};
use crate::spec::tree::{Node, Table, Value};
use crate::tensor::{Backend, Matrix, Recorder, Steps, TensorError};
use dfdx::prelude::Cpu;
use std::collections::HashMap;
use std::sync::Arc;

/// A neuron model as a kind of layer.
pub struct NeuronKind {
    model: Arc<Model>,
}

/// The keys of a layer of a neuron model.
pub fn fields(model: &Model) -> Vec<Field> {
    let text = |s: &str| Value::Text(s.into());
    let mut fields = vec![Field::optional(
        "size",
        Type::at_least(1),
        "neurons, fed by dense weights; else one a channel of the input",
    )];
    fields.extend(weight_fields());
    for param in &model.params {
        fields.push(Field::default(&param.name, Type::Parameter, Value::Float(param.default), &param.about));
    }
    for option in &model.options {
        let values: Vec<String> = option.values.iter().map(|(value, _)| value.clone()).collect();
        let default = text(&values[0]);
        fields.push(Field::default(&option.name, Type::Choice(values), default, "variant of the equations"));
    }
    if model.spikes() {
        let about = "derivative that stands in for that of a spike";
        fields.push(Field::default("surrogate", Type::Component(Kind::Surrogate), text("fast_sigmoid"), about));
    }
    let signals: Vec<String> = model.outputs.iter().map(|(signal, _)| signal.clone()).collect();
    let first = text(&signals[0]);
    fields.push(Field::default("output", Type::Choice(signals), first, "the signal that the layer hands on"));
    fields.extend(learning_fields());
    fields
}

impl NeuronKind {
    /// A layer of this model.
    pub fn new(model: Arc<Model>) -> Self {
        NeuronKind { model }
    }

    fn program(&self, args: &Table, surrogates: &dyn Surrogates) -> NeuronLayer {
        let choices: Vec<(String, String)> =
            self.model.options.iter().map(|option| (option.name.clone(), args.string(&option.name))).collect();
        let surrogate = args.get("surrogate").and_then(Node::as_table).map(|table| surrogates.surrogate(table));
        NeuronLayer { program: Program::new(&self.model, &choices, surrogate.unwrap_or(Expr::number(0.0))) }
    }
}

impl LayerKind for NeuronKind {
    fn plan(&self, args: &Table, inputs: usize, initialisers: &dyn Initialisers) -> LayerPlan {
        let size = args.get("size").map(|_| args.whole("size"));
        let mut parameters: Vec<ParameterPlan> = self
            .model
            .params
            .iter()
            .map(|param| parameter(param, args, size.unwrap_or(inputs), initialisers))
            .collect();
        if let Some(size) = size {
            parameters.extend(weights(args, size, inputs, initialisers));
        }
        LayerPlan {
            name: args.string("name"),
            kind: args.string("kind"),
            inputs,
            size: size.unwrap_or(inputs),
            output: args.string("output"),
            signals: self.model.outputs.iter().map(|(signal, _)| signal.clone()).collect(),
            parameters,
        }
    }

    fn on_cpu(&self, args: &Table, surrogates: &dyn Surrogates) -> Box<dyn Layer<Cpu>> {
        Box::new(self.program(args, surrogates))
    }

    #[cfg(feature = "cuda")]
    fn on_cuda(&self, args: &Table, surrogates: &dyn Surrogates) -> Box<dyn Layer<dfdx::prelude::Cuda>> {
        Box::new(self.program(args, surrogates))
    }
}

fn parameter(param: &ParamDecl, args: &Table, size: usize, initialisers: &dyn Initialisers) -> ParameterPlan {
    let empty = Table::default();
    let held = args.get(&param.name).and_then(Node::as_table).unwrap_or(&empty);
    let source = held.entries.iter().find(|entry| !PARAMETER_OPTIONS.contains(&entry.key.as_str()));
    let init: Arc<dyn super::Initialiser> = match source {
        Some(entry) if entry.key != "value" => initialisers.initialiser(&entry.key, held, false),
        _ => Arc::new(Constant(held.get("value").and_then(Node::as_number).unwrap_or(param.default))),
    };
    ParameterPlan {
        name: param.name.clone(),
        shape: vec![if held.text("per") == Some("neuron") { size } else { 1 }],
        fan_in: 1,
        init,
        learn: held.flag("learn") && args.flag("learn"),
        lr: held.get("lr").or(args.get("lr")).and_then(Node::as_number),
        decays: false,
        project: param.project,
    }
}

struct NeuronLayer {
    program: Program,
}

impl<D: Backend> Layer<D> for NeuronLayer {
    fn forward(
        &self,
        parameters: &HashMap<String, Matrix<D>>,
        input: &Steps<D>,
        carry: Option<Carry<D>>,
        wanted: &dyn Fn(&str) -> bool,
        recorder: &mut Recorder<D>,
    ) -> Result<Segment<D>, TensorError> {
        let current = project(parameters, input, recorder)?;
        let inputs = HashMap::from([(self.program.inputs[0].clone(), current)]);
        reference::forward(&self.program, parameters, &inputs, carry, wanted, recorder)
    }
}
