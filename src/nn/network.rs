//! A network: layers one behind the other, and its parameters by path (`hidden_1.weight`).

use super::layer::{AnyLayer, Layer, LayerPlan, ParameterPlan, Parameters};
use crate::neuron::reference::{Carry, Pass};
use crate::spec::LayerSpec;
use crate::tensor::{Backend, Matrix, Recorder, Steps, TensorError};
use std::collections::HashMap;
use std::sync::Arc;

/// A network as it will be, before parameters are drawn.
#[derive(Clone)]
pub struct NetworkPlan {
    /// Its layers, from the input on.
    pub layers: Vec<LayerPlan>,
}

impl NetworkPlan {
    /// Every parameter with its path, layer by layer.
    pub fn parameters(&self) -> impl Iterator<Item = (String, &ParameterPlan)> {
        self.layers.iter().flat_map(|layer| {
            layer.parameters.iter().map(move |parameter| (format!("{}.{}", layer.name, parameter.name), parameter))
        })
    }

    /// Numbers in all parameters.
    pub fn size(&self) -> usize {
        self.parameters().map(|(_, parameter)| parameter.len()).sum()
    }

    /// Channels of the network's output.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.size)
    }

    /// The signal that is the network's output, such as `readout.membrane`.
    pub fn output(&self) -> String {
        self.layers.last().map_or(String::new(), |layer| format!("{}.{}", layer.name, layer.output))
    }

    /// The width of a signal.
    pub fn width(&self, signal: &str) -> Option<usize> {
        let (layer, signal) = signal.split_once('.')?;
        let layer = self.layers.iter().find(|plan| plan.name == layer)?;
        layer.signals.iter().any(|name| name == signal).then_some(layer.size)
    }

    /// All signals.
    pub fn signals(&self) -> Vec<String> {
        self.layers.iter().flat_map(LayerPlan::paths).collect()
    }
}

/// Plans the layers of an experiment for a number of input channels; `recipes` has one a layer.
pub fn plan(specs: &[LayerSpec], recipes: &[Arc<dyn AnyLayer>], inputs: usize) -> NetworkPlan {
    let mut width = inputs;
    let mut layers = Vec::new();
    for (spec, recipe) in specs.iter().zip(recipes) {
        let (name, kind) = (spec.name.clone(), spec.component.kind.clone());
        let plan = LayerPlan { name, kind, ..recipe.plan(width) };
        width = plan.size;
        layers.push(plan);
    }
    NetworkPlan { layers }
}

/// A parameter on a device.
pub struct Parameter<D: Backend> {
    /// Its path.
    pub path: String,
    /// Its values: weights `[out, in]`, everything else a row.
    pub values: Matrix<D>,
    /// How it is held.
    pub plan: ParameterPlan,
}

/// A network on a device.
pub struct Network<D: Backend> {
    layers: Vec<(LayerPlan, Box<dyn Layer<D>>)>,
    /// After how many steps gradients stop on their way back; none for never.
    tbptt: Option<usize>,
    /// Its parameters, layer by layer.
    pub parameters: Vec<Parameter<D>>,
}

impl<D: Backend> Network<D> {
    /// Builds a network from its plan, its layers on the device, and initial values by path.
    pub fn build(
        plan: &NetworkPlan,
        layers: Vec<Box<dyn Layer<D>>>,
        values: &HashMap<String, Vec<f32>>,
        device: &D,
        tbptt: Option<usize>,
    ) -> Result<Self, TensorError> {
        let mut parameters = Vec::new();
        for (path, parameter) in plan.parameters() {
            let numbers = values.get(&path).cloned().unwrap_or_default();
            let matrix =
                device.try_tensor_from_vec(numbers, parameter.matrix_shape()).map_err(TensorError::from_device)?;
            parameters.push(Parameter { path, values: matrix, plan: parameter.clone() });
        }
        Ok(Network { layers: plan.layers.iter().cloned().zip(layers).collect(), tbptt, parameters })
    }

    /// All signals by path, from the input on.
    pub fn signals(&self) -> Vec<String> {
        self.layers.iter().flat_map(|(plan, _)| plan.paths()).collect()
    }

    /// Runs whole sequences `[time * batch, inputs]`; gives the wanted signals by path. The output is always wanted. To
    /// what is `graded` a gradient comes from the loss; `look` sees the states of each layer after the last step.
    pub fn forward(
        &self,
        input: &Steps<D>,
        wanted: &dyn Fn(&str) -> bool,
        graded: &dyn Fn(&str) -> bool,
        look: &mut dyn FnMut(&str, &Carry<D>),
        recorder: &mut Recorder<D>,
    ) -> Result<HashMap<String, Steps<D>>, TensorError> {
        let mut gathered = HashMap::new();
        let mut current = input.clone();
        for (i, (plan, layer)) in self.layers.iter().enumerate() {
            let feeds = i + 1 < self.layers.len();
            let of_layer = format!("{}.", plan.name);
            let own: Parameters<D> = (self.parameters.iter())
                .filter_map(|p| Some((p.path.strip_prefix(&of_layer)?.to_string(), p.values.clone())))
                .collect();
            let pass = Pass {
                tbptt: self.tbptt,
                wanted: &|signal| signal == plan.output || wanted(&format!("{of_layer}{signal}")),
                graded: &|signal| feeds && signal == plan.output || graded(&format!("{of_layer}{signal}")),
            };
            let segment = layer.forward(&own, &current, None, &pass, recorder)?;
            look(&plan.name, &segment.carry);
            for (signal, steps) in segment.signals {
                if signal == plan.output {
                    current = steps.clone();
                }
                gathered.insert(format!("{of_layer}{signal}"), steps);
            }
        }
        Ok(gathered)
    }
}
