//! The machine on dfdx's tape: slow, on any device, and obviously right.

use super::{Machine, ParameterValues};
use crate::data::Data;
use crate::neuron::reference::Carry;
use crate::nn::Network;
use crate::tensor::{Backend, Recorder, Scalar, Steps, TensorError, is_finite};
use crate::train::optimizer::{Update, gradient_norm};
use crate::train::{Loss, Optimizer};
use dfdx::tensor::Gradients;
use dfdx::tensor_ops::{TryAdd, TryMul};
use std::borrow::Cow;
use std::collections::HashMap;

/// A loss in the sum that training lowers.
pub struct LossTerm<D: Backend> {
    /// The loss.
    pub loss: Box<dyn Loss<D>>,
    /// Its factor.
    pub weight: f64,
    /// The signal it reads.
    pub signal: String,
}

/// A network, its losses and optimizer on a device.
pub struct TapeMachine<D: Backend> {
    device: D,
    network: Network<D>,
    optimizer: Box<dyn Optimizer<D>>,
    losses: Vec<LossTerm<D>>,
    signals: HashMap<String, Steps<D>>,
    /// The last loss, with the tape that leads to it.
    pending: Option<(Scalar<D>, Recorder<D>)>,
    gradients: Gradients<f32, D>,
    inspects: bool,
    /// What was found not to be finite.
    broken: Option<String>,
}

impl<D: Backend> TapeMachine<D> {
    /// A machine that has not computed anything.
    pub fn new(device: D, network: Network<D>, optimizer: Box<dyn Optimizer<D>>, losses: Vec<LossTerm<D>>) -> Self {
        let gradients = Gradients::leaky();
        TapeMachine {
            device,
            network,
            optimizer,
            losses,
            signals: HashMap::new(),
            pending: None,
            gradients,
            inspects: false,
            broken: None,
        }
    }

    fn total(
        &self,
        signals: &HashMap<String, Steps<D>>,
        batch: &Data,
        recorder: &mut Recorder<D>,
    ) -> Result<Scalar<D>, TensorError> {
        let rows = batch.steps * batch.samples;
        let target = recorder.matrix(batch.targets.clone(), (rows, batch.targets.len() / rows))?;
        let channels = batch.channels();
        let weights: Vec<f32> = batch.weights.iter().flat_map(|w| std::iter::repeat_n(*w, channels)).collect();
        let weights = match weights.is_empty() {
            true => None,
            false => Some(recorder.matrix(weights, (rows, channels))?),
        };
        let mut total: Option<Scalar<D>> = None;
        for term in &self.losses {
            let Some(signal) = signals.get(&term.signal) else {
                return Err(TensorError(format!("no signal `{}`", term.signal)));
            };
            let mut loss = term.loss.value(signal, &target, weights.as_ref(), recorder)?;
            if term.weight != 1.0 {
                loss = recorder.unary(&loss, |loss| loss.try_mul(term.weight as f32))?;
            }
            total = Some(match total {
                Some(sum) => recorder.binary(&sum, &loss, |sum, loss| sum.try_add(loss))?,
                None => loss,
            });
        }
        total.ok_or_else(|| TensorError("no loss".into()))
    }
}

impl<D: Backend> Machine for TapeMachine<D> {
    fn forward(&mut self, batch: &Data, wanted: &dyn Fn(&str) -> bool, keep: bool) -> Result<f64, TensorError> {
        let device = self.device.clone();
        let mut recorder = if keep { Recorder::recording(device) } else { Recorder::forgetting(device) };
        let rows = batch.steps * batch.samples;
        let input = recorder.matrix(batch.inputs.clone(), (rows, batch.inputs.len() / rows))?;
        let input = Steps { data: input, steps: batch.steps, batch: batch.samples };
        let inspects = self.inspects;
        let graded = |path: &str| self.losses.iter().any(|term| term.signal == path);
        let needed = |path: &str| inspects || wanted(path) || graded(path);
        let mut broken_state = None;
        let mut look = |layer: &str, states: &Carry<D>| {
            if inspects && broken_state.is_none() && states.values().any(|state| !is_finite(&state.as_vec())) {
                broken_state = Some(format!("a state of `{layer}`"));
            }
        };
        let signals = self.network.forward(&input, &needed, &graded, &mut look, &mut recorder)?;
        if inspects {
            // From the input on: what is broken first breaks the rest.
            let found = |path: &String| signals.get(path).is_some_and(|signal| !is_finite(&signal.to_vec()));
            let broken = self.network.signals().into_iter().find(found);
            self.broken = broken.map(|path| format!("`{path}`")).or(broken_state);
        }
        let total = self.total(&signals, batch, &mut recorder)?;
        let loss = f64::from(total.as_vec()[0]);
        self.signals = signals;
        self.pending = keep.then_some((total, recorder));
        Ok(loss)
    }

    fn signal(&self, path: &str) -> Option<(usize, Cow<'_, [f32]>)> {
        self.signals.get(path).map(|steps| (steps.width(), steps.to_vec().into()))
    }

    fn inspect(&mut self, on: bool) {
        self.inspects = on;
    }

    fn broken(&self) -> Result<Option<String>, TensorError> {
        if let Some(parameter) = self.network.parameters.iter().find(|p| !is_finite(&p.values.as_vec())) {
            return Ok(Some(format!("`{}`", parameter.path)));
        }
        // Three of each parameter, in their order.
        if let Some(buffer) = self.optimizer.moments()?.iter().position(|values| !is_finite(values)) {
            let path = self.network.parameters.get(buffer / 3).map_or("", |parameter| &parameter.path);
            return Ok(Some(format!("what the optimizer remembers of `{path}`")));
        }
        Ok(None)
    }

    fn broken_signal(&self) -> Option<String> {
        self.broken.clone()
    }

    fn backward(&mut self, _: &Data) -> Result<(), TensorError> {
        let Some((total, recorder)) = self.pending.take() else {
            return Err(TensorError("a backward pass needs a forward pass before it".into()));
        };
        self.signals.clear();
        self.gradients = recorder.backward(&total)?;
        Ok(())
    }

    fn gradient_norm(&mut self) -> Result<f64, TensorError> {
        gradient_norm(&self.network.parameters, &mut self.gradients)
    }

    fn update(&mut self, update: Update) -> Result<(), TensorError> {
        self.optimizer.update(update, &mut self.network.parameters, &mut self.gradients)
    }

    fn parameters(&self) -> Vec<ParameterValues> {
        let host = |p: &crate::nn::Parameter<D>| (p.path.clone(), p.plan.shape.clone(), p.values.as_vec());
        self.network.parameters.iter().map(host).collect()
    }

    fn set_parameters(&mut self, values: &[Vec<f32>]) -> Result<(), TensorError> {
        for (parameter, values) in self.network.parameters.iter_mut().zip(values) {
            let shape = parameter.plan.matrix_shape();
            parameter.values =
                self.device.try_tensor_from_vec(values.clone(), shape).map_err(TensorError::from_device)?;
        }
        Ok(())
    }

    fn moments(&self) -> Result<Vec<Vec<f32>>, TensorError> {
        self.optimizer.moments()
    }

    fn set_moments(&mut self, moments: &[Vec<f32>]) -> Result<bool, TensorError> {
        self.optimizer.set_moments(moments, &self.network.parameters)
    }

    fn gradients(&mut self) -> Result<Vec<Vec<f32>>, TensorError> {
        let mut list = Vec::new();
        for parameter in &self.network.parameters {
            let buffer = self.gradients.get_or_alloc_mut(&parameter.values).map_err(TensorError::from_device)?;
            list.push(D::read(buffer).map_err(TensorError::from_device)?);
        }
        Ok(list)
    }
}
