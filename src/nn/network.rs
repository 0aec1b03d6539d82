//! A network: layers that read each other's signals, and its parameters by path (`hidden_1.weight`).

use super::layer::{Layer, LayerPlan, ParameterPlan, Parameters, SourcePlan};
use crate::neuron::reference::{Carry, Pass};
use crate::tensor::{Backend, Matrix, Recorder, Steps, TensorError};
use dfdx::prelude::TryAdd;
use std::collections::HashMap;

/// A network as it will be, before parameters are drawn.
#[derive(Clone)]
pub struct NetworkPlan {
    /// Its layers as the experiment lists them; the last gives the output.
    pub layers: Vec<LayerPlan>,
    /// Places of the layers, each behind those that it reads.
    pub order: Vec<usize>,
}

impl NetworkPlan {
    /// Layers one behind the other.
    pub fn chain(mut layers: Vec<LayerPlan>) -> NetworkPlan {
        let mut before: Option<(usize, usize)> = None;
        for (i, layer) in layers.iter_mut().enumerate() {
            let source = SourcePlan { from: before, delay: 0, width: layer.inputs, weight: "weight".into() };
            layer.sources = vec![source];
            before = Some((i, layer.handed_on()));
        }
        NetworkPlan { order: (0..layers.len()).collect(), layers }
    }

    /// Whether a layer reads a signal of another.
    pub fn is_read(&self, layer: usize, signal: usize) -> bool {
        self.layers.iter().flat_map(|reader| &reader.sources).any(|source| source.from == Some((layer, signal)))
    }

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
    plan: NetworkPlan,
    layers: Vec<Box<dyn Layer<D>>>,
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
        Ok(Network { plan: plan.clone(), layers, tbptt, parameters })
    }

    /// All signals by path, each behind what it is computed from.
    pub fn signals(&self) -> Vec<String> {
        self.plan.order.iter().flat_map(|layer| self.plan.layers[*layer].paths()).collect()
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
        let mut gathered: HashMap<String, Steps<D>> = HashMap::new();
        for &at in &self.plan.order {
            let (plan, layer) = (&self.plan.layers[at], &self.layers[at]);
            let of_layer = format!("{}.", plan.name);
            let own: Parameters<D> = (self.parameters.iter())
                .filter_map(|p| Some((p.path.strip_prefix(&of_layer)?.to_string(), p.values.clone())))
                .collect();
            let current = self.current(plan, &own, input, &gathered, recorder)?;
            let read = |signal: &str| {
                let place = plan.signals.iter().position(|name| name == signal);
                place.is_some_and(|place| self.plan.is_read(at, place))
            };
            let pass = Pass {
                tbptt: self.tbptt,
                wanted: &|signal| signal == plan.output || read(signal) || wanted(&format!("{of_layer}{signal}")),
                graded: &|signal| read(signal) || graded(&format!("{of_layer}{signal}")),
            };
            let segment = layer.forward(&own, &current, None, &pass, recorder)?;
            look(&plan.name, &segment.carry);
            let signals = segment.signals.into_iter();
            gathered.extend(signals.map(|(signal, steps)| (format!("{of_layer}{signal}"), steps)));
        }
        Ok(gathered)
    }

    /// What comes into a layer: the sum of its sources, each late by its delay and through its weights, `x W^T + b`.
    fn current(
        &self,
        plan: &LayerPlan,
        own: &Parameters<D>,
        input: &Steps<D>,
        gathered: &HashMap<String, Steps<D>>,
        recorder: &mut Recorder<D>,
    ) -> Result<Steps<D>, TensorError> {
        let mut sum: Option<Steps<D>> = None;
        for source in &plan.sources {
            let mut steps = match source.from {
                None => input.clone(),
                Some((layer, signal)) => {
                    let layer = &self.plan.layers[layer];
                    let path = format!("{}.{}", layer.name, layer.signals[signal]);
                    let steps = gathered.get(&path).cloned();
                    steps.ok_or_else(|| TensorError(format!("no signal `{path}`")))?
                }
            };
            if source.delay > 0 {
                steps = recorder.late(&steps, source.delay, self.tbptt)?;
            }
            if plan.weighted {
                let bias = if sum.is_none() { own.get("bias") } else { None };
                steps.data = recorder.dense(&steps.data, &own[&source.weight], bias)?;
            }
            sum = Some(match sum {
                Some(sum) => Steps { data: recorder.binary(&sum.data, &steps.data, |a, b| a.try_add(b))?, ..steps },
                None => steps,
            });
        }
        sum.ok_or_else(|| TensorError(format!("`{}` reads nothing", plan.name)))
    }
}
