//! One trial: a network, its data and optimizer, as a machine that can stop after any iteration.

use super::draws::OrderSource;
use super::metric::Compared;
use super::optimizer::gradient_norm;
use super::{Loss, Metric, Optimizer};
use crate::data::Data;
use crate::nn::Network;
use crate::spec::Select;
use crate::tensor::{Backend, Matrix, Recorder, Scalar, Steps, TensorError};
use dfdx::tensor_ops::{TryAdd, TryMul};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Loss in the sum that training lowers.
pub struct LossTerm<D: Backend> {
    /// The loss.
    pub loss: Box<dyn Loss<D>>,
    /// Its factor.
    pub weight: f64,
    /// The signal it reads.
    pub signal: String,
}

/// How a trial is trained.
pub struct Settings {
    /// Updates in all.
    pub iterations: usize,
    /// Samples an iteration.
    pub batch: usize,
    /// Whether each epoch has a new order.
    pub shuffle: bool,
    /// Largest norm of the gradient.
    pub clip_norm: Option<f64>,
    /// Iterations between rows of the history.
    pub record_every: usize,
    /// Which weights are kept.
    pub select: Select,
    /// What is recorded.
    pub metrics: Vec<Metric>,
    /// The signal that is the network's output.
    pub output: String,
}

/// A row of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The iteration, from 0.
    pub iteration: usize,
    /// The loss before its update.
    pub loss: f64,
    /// Metrics of the same output.
    pub metrics: Vec<f64>,
}

/// How far a trial went.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// As far as was asked.
    Reached,
    /// All iterations are done.
    Finished,
    /// Asked to stop.
    Interrupted,
    /// The loss is not a number, or infinite: where and why.
    Failed(String),
}

/// The network on the whole data.
pub struct Outcome {
    /// The loss.
    pub loss: f64,
    /// The metrics.
    pub metrics: Vec<f64>,
    /// Signals that were asked for, and the output, `[time, samples, width]`.
    pub signals: HashMap<String, (usize, Vec<f32>)>,
}

/// A loss, and its gradient with respect to each parameter by path.
pub type LossAndGradients = (f64, Vec<(String, Vec<f32>)>);

/// Signals by path.
type Signals<D> = HashMap<String, Steps<D>>;

/// A trial under way.
pub struct Trial<D: Backend> {
    device: D,
    network: Network<D>,
    optimizer: Box<dyn Optimizer<D>>,
    losses: Vec<LossTerm<D>>,
    data: Data,
    order: OrderSource,
    settings: Settings,
    iteration: usize,
    /// Order of samples in the current epoch.
    epoch: Vec<usize>,
    /// Lowest loss so far, and the parameters that had it.
    best: Option<(f64, Vec<Matrix<D>>)>,
    /// Rows since they were last taken.
    pub history: Vec<Row>,
}

impl<D: Backend> Trial<D> {
    /// A trial before its first iteration.
    pub fn new(
        device: D,
        network: Network<D>,
        optimizer: Box<dyn Optimizer<D>>,
        losses: Vec<LossTerm<D>>,
        data: Data,
        order: OrderSource,
        settings: Settings,
    ) -> Self {
        Trial {
            device,
            network,
            optimizer,
            losses,
            data,
            order,
            settings,
            iteration: 0,
            epoch: Vec::new(),
            best: None,
            history: Vec::new(),
        }
    }

    /// Iterations done.
    pub fn iteration(&self) -> usize {
        self.iteration
    }

    /// The data it is trained on.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Loss of the latest iteration.
    pub fn latest_loss(&self) -> Option<f64> {
        self.history.last().map(|row| row.loss)
    }

    /// Parameters by path, on the host.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let host = |p: &crate::nn::Parameter<D>| (p.path.clone(), p.plan.shape.clone(), p.values.as_vec());
        self.network.parameters.iter().map(host).collect()
    }

    /// Trains up to an iteration, unless `stop` is raised before.
    pub fn advance(&mut self, until: usize, stop: &AtomicBool) -> Result<Progress, TensorError> {
        while self.iteration < until.min(self.settings.iterations) {
            if stop.load(Ordering::Relaxed) {
                return Ok(Progress::Interrupted);
            }
            if let Some(reason) = self.iterate()? {
                return Ok(Progress::Failed(reason));
            }
        }
        Ok(if self.iteration == self.settings.iterations { Progress::Finished } else { Progress::Reached })
    }

    /// One iteration; a reason where the loss is not finite, and then nothing is changed.
    fn iterate(&mut self) -> Result<Option<String>, TensorError> {
        let batch = self.next_batch();
        let mut recorder = Recorder::recording(self.device.clone());
        let (total, signals) = self.losses_of(&batch, &|_| false, &mut recorder)?;
        let loss = f64::from(total.as_vec()[0]);
        if !loss.is_finite() {
            return Ok(Some(self.reason(loss, &signals)));
        }
        if self.iteration.is_multiple_of(self.settings.record_every) {
            let metrics = self.metrics_of(&batch, &signals);
            self.history.push(Row { iteration: self.iteration, loss, metrics });
        }
        self.remember(loss)?;
        let mut gradients = recorder.backward(&total)?;
        let scale = match self.settings.clip_norm {
            Some(limit) => {
                let norm = gradient_norm(&self.network.parameters, &mut gradients)?;
                if norm > limit { (limit / norm) as f32 } else { 1.0 }
            }
            None => 1.0,
        };
        drop(signals);
        self.iteration += 1;
        self.optimizer.update(self.iteration, &mut self.network.parameters, &mut gradients, scale)?;
        Ok(None)
    }

    /// The loss of the whole data and its gradient with respect to each parameter, by path; changes nothing.
    pub fn gradients(&self) -> Result<LossAndGradients, TensorError> {
        let mut recorder = Recorder::recording(self.device.clone());
        let (total, _) = self.losses_of(&self.data, &|_| false, &mut recorder)?;
        let mut gradients = recorder.backward(&total)?;
        let mut list = Vec::new();
        for parameter in &self.network.parameters {
            let buffer = gradients.get_or_alloc_mut(&parameter.values).map_err(TensorError::from_device)?;
            list.push((parameter.path.clone(), D::read(buffer).map_err(TensorError::from_device)?));
        }
        Ok((f64::from(total.as_vec()[0]), list))
    }

    /// Puts back the parameters of the lowest training loss, if they are to be kept and better than the last.
    pub fn select(&mut self) -> Result<(), TensorError> {
        let Some((best, parameters)) = self.best.take() else { return Ok(()) };
        let last = self.evaluate(&|_| false)?.loss;
        if best < last || !last.is_finite() {
            for (parameter, values) in self.network.parameters.iter_mut().zip(parameters) {
                parameter.values = values;
            }
        }
        Ok(())
    }

    /// The network as it is, on the whole data.
    pub fn evaluate(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Outcome, TensorError> {
        let mut recorder = Recorder::forgetting(self.device.clone());
        let (total, signals) = self.losses_of(&self.data, wanted, &mut recorder)?;
        Ok(Outcome {
            loss: f64::from(total.as_vec()[0]),
            metrics: self.metrics_of(&self.data, &signals),
            signals: signals.into_iter().map(|(path, steps)| (path, (steps.width(), steps.to_vec()))).collect(),
        })
    }

    fn losses_of(
        &self,
        batch: &Data,
        wanted: &dyn Fn(&str) -> bool,
        recorder: &mut Recorder<D>,
    ) -> Result<(Scalar<D>, Signals<D>), TensorError> {
        let rows = batch.steps * batch.samples;
        let input = recorder.matrix(batch.inputs.clone(), (rows, batch.inputs.len() / rows))?;
        let target = recorder.matrix(batch.targets.clone(), (rows, batch.targets.len() / rows))?;
        let input = Steps { data: input, steps: batch.steps, batch: batch.samples };
        let needed = |path: &str| wanted(path) || self.losses.iter().any(|term| term.signal == path);
        let signals = self.network.forward(&input, &needed, recorder)?;
        let mut total: Option<Scalar<D>> = None;
        for term in &self.losses {
            let Some(signal) = signals.get(&term.signal) else {
                return Err(TensorError(format!("no signal `{}`", term.signal)));
            };
            let mut loss = term.loss.value(signal, &target, recorder)?;
            if term.weight != 1.0 {
                loss = recorder.unary(&loss, |loss| loss.try_mul(term.weight as f32))?;
            }
            total = Some(match total {
                Some(sum) => recorder.binary(&sum, &loss, |sum, loss| sum.try_add(loss))?,
                None => loss,
            });
        }
        total.map(|total| (total, signals)).ok_or_else(|| TensorError("no loss".into()))
    }

    fn metrics_of(&self, batch: &Data, signals: &Signals<D>) -> Vec<f64> {
        let Some(output) = signals.get(&self.settings.output) else { return Vec::new() };
        if self.settings.metrics.is_empty() {
            return Vec::new();
        }
        let (values, channels) = (output.to_vec(), output.width());
        let compared = Compared { output: &values, target: &batch.targets, batch: batch.samples, channels };
        self.settings.metrics.iter().map(|metric| metric(compared)).collect()
    }

    fn next_batch(&mut self) -> Data {
        let (n, size) = (self.data.samples, self.settings.batch);
        if size >= n {
            return self.data.clone();
        }
        let a_pass = n.div_ceil(size);
        let (epoch, place) = (self.iteration / a_pass, self.iteration % a_pass);
        if place == 0 || self.epoch.is_empty() {
            self.epoch = if self.settings.shuffle { self.order.permutation(epoch, n) } else { (0..n).collect() };
        }
        self.data.batch(&self.epoch[place * size..n.min((place + 1) * size)])
    }

    /// Keeps the parameters if they have the lowest loss on the whole data so far; with several batches an epoch
    /// only at its start, where the whole data are looked at once more.
    fn remember(&mut self, loss: f64) -> Result<(), TensorError> {
        let a_pass = self.data.samples.div_ceil(self.settings.batch);
        if self.settings.select == Select::Last || !self.iteration.is_multiple_of(a_pass) {
            return Ok(());
        }
        let loss = if a_pass == 1 { loss } else { self.evaluate(&|_| false)?.loss };
        if self.best.as_ref().is_none_or(|(best, _)| loss < *best) {
            let parameters = self.network.parameters.iter().map(|p| p.values.clone()).collect();
            self.best = Some((loss, parameters));
        }
        Ok(())
    }

    /// Why a loss is not finite, as far as numbers can tell.
    fn reason(&self, loss: f64, signals: &Signals<D>) -> String {
        let what = format!("the loss is {loss} at iteration {}", self.iteration);
        let broken = self.network.parameters.iter().find(|p| p.values.as_vec().iter().any(|x| !x.is_finite()));
        let cause = match (self.iteration, broken) {
            (_, Some(parameter)) => format!(
                "`{}` is no longer finite: the last update was too large; a smaller `lr` or `clip_norm` helps",
                parameter.path
            ),
            (0, None) if self.data.inputs.iter().chain(&self.data.targets).any(|x| !x.is_finite()) => {
                "the data have values that are not finite".into()
            }
            (0, None) => "initial parameters or input are too large for f32".into(),
            (_, None) if signals.values().any(|s| s.to_vec().iter().any(|x| !x.is_finite())) => {
                "the network's output overflowed: training diverges; a smaller `lr` or `clip_norm` helps".into()
            }
            (_, None) => {
                "the error is too large for f32: training diverges; a smaller `lr` or `clip_norm` helps".into()
            }
        };
        format!("{what}: {cause}")
    }
}
