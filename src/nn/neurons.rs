//! A layer of neurons: dense weights from its input, if it has a `size`, and a neuron model over time.

use super::fused::Form;
use super::init::{Constant, Initialiser, TorchLinear};
use super::layer::{Inputs, Layer, LayerPlan, Learning, Lookup, ParameterPlan, Parameters, Recipe};
use super::linear::{DenseWeights, WeightKeys};
use crate::formula::Expr;
use crate::neuron::Model;
use crate::neuron::model::{ParamDecl, ProjectionDecl};
use crate::neuron::program::StepProgram;
use crate::neuron::reference::{self, Carry, Pass, Segment};
use crate::spec::Component;
use crate::spec::component::Kind;
use crate::spec::fields::{Field, Type};
use crate::spec::held::{Begins, ParameterKeys, Per, parameter};
use crate::spec::key::{Key, KeyType, Keys, at_least, component};
use crate::spec::tree::{Table, Value};
use crate::tensor::{Backend, Recorder, Steps, TensorError};
use std::collections::HashMap;
use std::sync::Arc;

/// What an experiment says of a layer of neurons. Which keys there are follows from the model.
pub struct NeuronKeys {
    size: Option<usize>,
    weights: WeightKeys,
    /// Each parameter of the model.
    params: Vec<ParameterKeys>,
    /// The value of each option, and the kind of each projection, by name.
    choices: Vec<(String, String)>,
    /// How the weights of each projection begin, where it says so.
    projections: Vec<Option<Component>>,
    surrogate: Option<Component>,
    output: String,
    learning: Learning,
}

/// One of some words, the first unless another is written.
fn word(words: Vec<String>) -> Key<String> {
    let first = words.first().cloned().unwrap_or_default();
    Key::new(Type::Choice(words)).or(first)
}

fn init_key(projection: &ProjectionDecl) -> String {
    format!("{}_init", projection.name)
}

impl NeuronKeys {
    /// The keys of a layer of a neuron model.
    pub fn fields(model: &Model) -> Vec<Field> {
        let about = "neurons, fed by dense weights; else one a channel of the input";
        let mut fields = vec![at_least(1).optional().field("size", about)];
        fields.extend(WeightKeys::fields());
        for param in &model.params {
            let default = Value::Float(param.default);
            fields.push(parameter().or_written(default).field(&param.name, &param.about));
        }
        for option in &model.options {
            let values = option.values.iter().map(|(value, _)| value.clone()).collect();
            fields.push(word(values).field(&option.name, "variant of the equations"));
        }
        for projection in &model.projections {
            let about = format!("how {} of the step before comes back", projection.from);
            fields.push(word(projection.kinds.clone()).field(&projection.name, &about));
            let about = "how its weights begin; one to one: at 1, dense: as PyTorch's Linear";
            fields.push(component(Kind::Initialiser).optional().field(&init_key(projection), about));
        }
        if model.spikes() {
            let about = "derivative that stands in for that of a spike";
            fields.push(component(Kind::Surrogate).or_named("fast_sigmoid").field("surrogate", about));
        }
        let signals = model.outputs.iter().map(|(signal, _)| signal.clone()).collect();
        fields.push(word(signals).field("output", "the signal that the layer hands on"));
        fields.extend(Learning::fields());
        fields
    }

    /// Their values in a table that was checked against [`NeuronKeys::fields`]; none where it was not.
    pub fn read(model: &Model, checked: &Table) -> Option<NeuronKeys> {
        let options = model.options.iter().map(|option| &option.name);
        let chosen = options.chain(model.projections.iter().map(|projection| &projection.name));
        let chosen = chosen.map(|name| Some((name.clone(), String::from_table(checked, name)?)));
        let of = |projection: &ProjectionDecl| Option::from_table(checked, &init_key(projection));
        Some(NeuronKeys {
            size: Option::from_table(checked, "size")?,
            weights: WeightKeys::read(checked)?,
            params: model
                .params
                .iter()
                .map(|param| ParameterKeys::from_table(checked, &param.name))
                .collect::<Option<_>>()?,
            choices: chosen.collect::<Option<_>>()?,
            projections: model.projections.iter().map(of).collect::<Option<_>>()?,
            surrogate: Option::from_table(checked, "surrogate")?,
            output: String::from_table(checked, "output")?,
            learning: Learning::read(checked)?,
        })
    }
}

/// A layer of neurons of a model.
pub struct Neurons {
    model: Arc<Model>,
    size: Option<usize>,
    dense: DenseWeights,
    /// Each parameter of the model, with how it begins.
    params: Vec<(ParameterKeys, Arc<dyn Initialiser>)>,
    choices: Vec<(String, String)>,
    projections: Vec<Projected>,
    surrogate: Expr,
    output: String,
    learning: Learning,
}

/// A projection of a state back into the layer.
struct Projected {
    dense: bool,
    /// How the weight begins, and the bias.
    begins: [Arc<dyn Initialiser>; 2],
}

impl Neurons {
    /// Of its keys.
    pub fn new(model: Arc<Model>, keys: NeuronKeys, parts: &dyn Lookup) -> Neurons {
        let begins = |held: ParameterKeys| {
            let init = match &held.begins {
                Begins::At(value) => Constant::of(*value),
                Begins::Drawn(component) => parts.initialiser(component, false),
            };
            (held, init)
        };
        let projection = |(decl, given): (&ProjectionDecl, &Option<Component>)| {
            let dense = keys.choices.iter().any(|(name, kind)| *name == decl.name && kind == "dense");
            Projected { dense, begins: [false, true].map(|bias| projected(given.as_ref(), dense, bias, parts)) }
        };
        Neurons {
            size: keys.size,
            dense: DenseWeights::new(&keys.weights, &keys.learning, parts),
            projections: model.projections.iter().zip(&keys.projections).map(projection).collect(),
            params: keys.params.into_iter().map(begins).collect(),
            choices: keys.choices,
            surrogate: keys.surrogate.map_or(Expr::number(0.0), |surrogate| parts.surrogate(&surrogate)),
            output: keys.output,
            learning: keys.learning,
            model,
        }
    }

    fn program(&self) -> StepProgram {
        StepProgram::new(&self.model, &self.choices, self.surrogate.clone())
    }

    fn parameter(
        &self,
        param: &ParamDecl,
        held: &ParameterKeys,
        init: &Arc<dyn Initialiser>,
        size: usize,
    ) -> ParameterPlan {
        let shape = vec![if held.holding.per == Per::Neuron { size } else { 1 }];
        ParameterPlan {
            learn: held.holding.learn && self.learning.learn,
            lr: held.holding.lr.or(self.learning.lr),
            project: param.project,
            bounds: param.clamp.or(param.project),
            ..ParameterPlan::new(&param.name, shape, init.clone(), &self.learning)
        }
    }

    /// Weight and bias of a projection.
    fn projected(&self, decl: &ProjectionDecl, projection: &Projected, size: usize) -> Vec<ParameterPlan> {
        let Projected { dense, begins: [weight, bias] } = projection;
        let outputs = decl.to.len() * size;
        let plan = |name: &str, shape: Vec<usize>, init: &Arc<dyn Initialiser>| ParameterPlan {
            fan_in: size,
            ..ParameterPlan::new(&format!("{}.{name}", decl.name), shape, init.clone(), &self.learning)
        };
        let shape = if *dense { vec![outputs, size] } else { vec![size] };
        let mut list = vec![ParameterPlan { decays: true, ..plan("weight", shape, weight) }];
        list.extend((*dense && decl.bias).then(|| plan("bias", vec![outputs], bias)));
        list
    }
}

/// How weight or bias of a projection begins.
fn projected(given: Option<&Component>, dense: bool, bias: bool, parts: &dyn Lookup) -> Arc<dyn Initialiser> {
    match given {
        Some(component) => parts.initialiser(component, bias),
        None if dense => Arc::new(TorchLinear { bias }),
        None => Constant::of(1.0),
    }
}

impl Recipe for Neurons {
    fn plan(&self, inputs: &Inputs) -> LayerPlan {
        let blocks = self.model.inputs.len();
        let size = self.size.unwrap_or(inputs.width() / blocks);
        let params = self.model.params.iter().zip(&self.params);
        let mut parameters: Vec<ParameterPlan> =
            params.map(|(param, (held, init))| self.parameter(param, held, init, size)).collect();
        let weighted = self.size.is_some();
        if weighted {
            let fan_in = self.model.fan_in_neurons.then_some(size);
            parameters.extend(self.dense.parameters(blocks * size, inputs, fan_in));
        }
        for (decl, projection) in self.model.projections.iter().zip(&self.projections) {
            parameters.extend(self.projected(decl, projection, size));
        }
        LayerPlan {
            weighted,
            blocks: if weighted { 1 } else { blocks },
            signals: self.model.outputs.iter().map(|(signal, _)| signal.clone()).collect(),
            parameters,
            ..LayerPlan::new(if weighted { inputs.total() } else { inputs.width() }, size, &self.output)
        }
    }

    fn fused(&self) -> Option<Form> {
        Some(Form::Neurons(self.program()))
    }

    fn has_fused(&self) -> bool {
        true
    }

    fn on<D: Backend>(&self) -> Box<dyn Layer<D>> {
        Box::new(NeuronLayer { program: self.program() })
    }
}

struct NeuronLayer {
    program: StepProgram,
}

impl<D: Backend> Layer<D> for NeuronLayer {
    fn forward(
        &self,
        parameters: &Parameters<D>,
        input: &Steps<D>,
        carry: Option<Carry<D>>,
        pass: &Pass,
        recorder: &mut Recorder<D>,
    ) -> Result<Segment<D>, TensorError> {
        let blocks = self.program.inputs.len();
        let width = input.width() / blocks;
        let mut inputs = HashMap::new();
        for (i, name) in self.program.inputs.iter().enumerate() {
            let data = match blocks {
                1 => input.data.clone(),
                _ => recorder.columns(&input.data, i * width, (i + 1) * width)?,
            };
            inputs.insert(name.clone(), Steps { data, ..*input });
        }
        reference::forward(&self.program, parameters, &inputs, carry, pass, recorder)
    }
}
