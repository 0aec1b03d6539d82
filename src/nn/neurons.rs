//! A layer of neurons: dense weights from its input, if it has a `size`, and a neuron model over time.

use super::fused::Form;
use super::init::{Constant, TorchLinear};
use super::layer::{Initialisers, Layer, LayerKind, LayerPlan, ParameterPlan, Surrogates};
use super::linear::{learning_fields, project, weight_fields, weights};
use crate::formula::Expr;
use crate::neuron::Model;
use crate::neuron::model::{ParamDecl, ProjectionDecl};
use crate::neuron::program::Program;
use crate::neuron::reference::{self, Carry, Segment};
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
    for projection in &model.projections {
        let first = text(&projection.kinds[0]);
        let about = format!("how {} of the step before comes back", projection.from);
        fields.push(Field::default(&projection.name, Type::Choice(projection.kinds.clone()), first, &about));
        let about = "how its weights begin; one to one: at 1, dense: as PyTorch's Linear";
        fields.push(Field::optional(&init_key(projection), Type::Component(Kind::Initialiser), about));
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

fn init_key(projection: &ProjectionDecl) -> String {
    format!("{}_init", projection.name)
}

impl NeuronKind {
    /// A layer of this model.
    pub fn new(model: Arc<Model>) -> Self {
        NeuronKind { model }
    }

    fn program(&self, args: &Table, surrogates: &dyn Surrogates) -> NeuronLayer {
        let options = self.model.options.iter().map(|option| &option.name);
        let names = options.chain(self.model.projections.iter().map(|projection| &projection.name));
        let choices: Vec<(String, String)> = names.map(|name| (name.clone(), args.string(name))).collect();
        let surrogate = args.get("surrogate").and_then(Node::as_table).map(|table| surrogates.surrogate(table));
        NeuronLayer { program: Program::new(&self.model, &choices, surrogate.unwrap_or(Expr::number(0.0))) }
    }
}

impl LayerKind for NeuronKind {
    fn plan(&self, args: &Table, inputs: usize, initialisers: &dyn Initialisers) -> LayerPlan {
        let (blocks, given) = (self.model.inputs.len(), args.get("size").map(|_| args.whole("size")));
        let size = given.unwrap_or(inputs / blocks);
        let mut parameters: Vec<ParameterPlan> =
            self.model.params.iter().map(|param| parameter(param, args, size, initialisers)).collect();
        if given.is_some() {
            let fan_in = if self.model.fan_in_neurons { size } else { inputs };
            parameters.extend(weights(args, blocks * size, inputs, fan_in, initialisers));
        }
        for decl in &self.model.projections {
            parameters.extend(projection(decl, args, size, initialisers));
        }
        LayerPlan {
            name: args.string("name"),
            kind: args.string("kind"),
            inputs,
            size,
            blocks: if given.is_some() { 1 } else { blocks },
            output: args.string("output"),
            signals: self.model.outputs.iter().map(|(signal, _)| signal.clone()).collect(),
            parameters,
        }
    }

    fn fused(&self, args: &Table, surrogates: &dyn Surrogates) -> Option<Form> {
        Some(Form::Neurons(self.program(args, surrogates).program))
    }

    fn has_fused(&self, _: &Table, _: &dyn Surrogates) -> bool {
        true
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
        bounds: param.clamp.or(param.project),
    }
}

/// Weight and bias of a projection of a state back into the layer.
fn projection(decl: &ProjectionDecl, args: &Table, size: usize, initialisers: &dyn Initialisers) -> Vec<ParameterPlan> {
    let dense = args.string(&decl.name) == "dense";
    let outputs = decl.to.len() * size;
    let plan = |name: &str, shape: Vec<usize>, bias: bool| {
        let given = args.get(&init_key(decl)).and_then(Node::as_table);
        let init: Arc<dyn super::Initialiser> = match given {
            Some(table) => initialisers.initialiser(table.text("kind").unwrap_or_default(), table, bias),
            None if dense => Arc::new(TorchLinear { bias }),
            None => Arc::new(Constant(1.0)),
        };
        ParameterPlan {
            name: format!("{}.{name}", decl.name),
            shape,
            fan_in: size,
            init,
            learn: args.flag("learn"),
            lr: args.get("lr").and_then(Node::as_number),
            decays: !bias,
            project: None,
            bounds: None,
        }
    };
    let mut list = vec![plan("weight", if dense { vec![outputs, size] } else { vec![size] }, false)];
    if dense && decl.bias {
        list.push(plan("bias", vec![outputs], true));
    }
    list
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
        tbptt: Option<usize>,
        wanted: &dyn Fn(&str) -> bool,
        recorder: &mut Recorder<D>,
    ) -> Result<Segment<D>, TensorError> {
        let current = project(parameters, input, recorder)?;
        let blocks = self.program.inputs.len();
        let width = current.width() / blocks;
        let mut inputs = HashMap::new();
        for (i, name) in self.program.inputs.iter().enumerate() {
            let data = match blocks {
                1 => current.data.clone(),
                _ => recorder.columns(&current.data, i * width, (i + 1) * width)?,
            };
            inputs.insert(name.clone(), Steps { data, ..current });
        }
        reference::forward(&self.program, parameters, &inputs, carry, tbptt, wanted, recorder)
    }
}
