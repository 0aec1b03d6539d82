//! One trial: a network, its data and optimizer, as a machine that can stop after any iteration.

use super::Metric;
use super::draws::OrderSource;
use super::machine::{Machine, ParameterValues};
use super::metric::{MetricError, OwnUnits};
use super::optimizer::Update;
use super::rate::Rates;
use super::selection::{Look, Patience, Selection};
use super::watch::Watched;
use crate::data::prepared::Parts;
use crate::data::split::Part;
use crate::data::{Data, DataError};
use crate::spec::Select;
use crate::tensor::TensorError;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a trial failed, other than by what it computed.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// Its data cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A metric cannot be had.
    #[error(transparent)]
    Metric(#[from] MetricError),
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
    /// Epochs from one look at the validation part to the next.
    pub validate_every: usize,
    /// When training ends before its time.
    pub patience: Option<Patience>,
    /// How learning rates change, if they do.
    pub rates: Option<Rates>,
    /// What is recorded.
    pub metrics: Vec<Arc<dyn Metric>>,
    /// What is recorded of each layer, if anything.
    pub watch: Option<Watched>,
    /// The signal that is the network's output.
    pub output: String,
    /// All signals.
    pub signals: Vec<String>,
}

/// Updates from one look for numbers that are not finite to the next; the first and the last are looked at as well.
const LOOK_EVERY: usize = 16;

/// Rows of the history that memory is asked for at once.
const MOST_ROWS: usize = 1 << 16;

/// A row of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRow {
    /// The iteration, from 0.
    pub iteration: usize,
    /// The loss before its update.
    pub loss: f64,
    /// The loss of the validation part before its update, where it was looked at.
    pub validation: Option<f64>,
    /// The learning rate of its update, where it changes.
    pub rate: Option<f64>,
    /// Metrics of the same output.
    pub metrics: Vec<f64>,
    /// What was watched, in the order of [`Watched::names`].
    pub watched: Vec<f64>,
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

/// The network on a part of the data.
pub struct Outcome {
    /// The loss.
    pub loss: f64,
    /// The metrics.
    pub metrics: Vec<f64>,
    /// Signals that were asked for, and the output.
    pub signals: Signals,
}

/// Signals by path: their width, and their values `[time, samples, width]`.
pub type Signals = HashMap<String, (usize, Vec<f32>)>;

/// A loss, and its gradient with respect to each parameter by path.
pub type LossAndGradients = (f64, Vec<(String, Vec<f32>)>);

/// All that a trial needs to go on and that its plan does not determine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrialState {
    /// Iterations done.
    pub iteration: usize,
    /// Parameters, moments and the best parameters, by name.
    pub floats: BTreeMap<String, Vec<f32>>,
    /// The history and the lowest loss, by name.
    pub doubles: BTreeMap<String, Vec<f64>>,
}

/// A trial under way.
pub struct Trial {
    machine: Box<dyn Machine>,
    parts: Parts,
    order: OrderSource,
    settings: Settings,
    iteration: usize,
    /// Order of samples in the current epoch.
    epoch: Vec<usize>,
    /// What validation has shown so far.
    selection: Selection,
    /// What the schedule of learning rates remembers.
    memory: Vec<f64>,
    own_units: OwnUnits,
    /// The batch of the last iteration.
    batch: Option<Arc<Data>>,
    /// Rows since they were last taken.
    pub history: Vec<HistoryRow>,
}

impl Trial {
    /// A trial before its first iteration.
    pub fn new(machine: Box<dyn Machine>, parts: Parts, order: OrderSource, settings: Settings) -> Self {
        Trial {
            machine,
            parts,
            order,
            settings,
            iteration: 0,
            epoch: Vec::new(),
            selection: Selection::default(),
            memory: Vec::new(),
            own_units: OwnUnits::default(),
            batch: None,
            history: Vec::new(),
        }
    }

    /// Iterations done.
    pub fn iteration(&self) -> usize {
        self.iteration
    }

    /// Its data: what it is trained, validated and tested on.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Loss of the latest iteration.
    pub fn latest_loss(&self) -> Option<f64> {
        self.history.last().map(|row| row.loss)
    }

    /// Parameters by path.
    pub fn parameters(&self) -> Vec<ParameterValues> {
        self.machine.parameters()
    }

    /// Trains up to an iteration, unless `stop` is raised or nothing gets better before.
    pub fn advance(&mut self, until: usize, stop: &AtomicBool) -> Result<Progress, TrialError> {
        while self.iteration < until.min(self.settings.iterations) {
            if stop.load(Ordering::Relaxed) {
                return Ok(Progress::Interrupted);
            }
            let looked = self.look()?;
            if self.selection.gives_up(self.settings.patience) {
                return Ok(Progress::Finished);
            }
            if let Some(reason) = self.iterate(looked)? {
                return Ok(Progress::Failed(reason));
            }
        }
        Ok(if self.iteration == self.settings.iterations { Progress::Finished } else { Progress::Reached })
    }

    /// Where it stands; a trial of the same plan that is [`restored`](Trial::restore) goes on with the same bits.
    pub fn state(&self) -> Result<TrialState, TensorError> {
        let mut state = TrialState { iteration: self.iteration, ..TrialState::default() };
        for (i, (path, _, values)) in self.machine.parameters().into_iter().enumerate() {
            if let Some(best) = self.selection.best() {
                state.floats.insert(format!("best/{path}"), best[i].clone());
            }
            state.floats.insert(format!("parameters/{path}"), values);
        }
        let moments = self.machine.moments()?.into_iter().enumerate();
        state.floats.extend(moments.map(|(i, values)| (format!("moments/{i:06}"), values)));
        let mut column = |name: &str, values: Vec<f64>| state.doubles.insert(name.into(), values);
        column("selection", self.selection.numbers());
        column("rates", self.memory.clone());
        let rate = |row: &HistoryRow| row.rate.unwrap_or(f64::NAN);
        column("history/rate", self.history.iter().map(rate).collect());
        let validation = |row: &HistoryRow| row.validation.unwrap_or(f64::NAN);
        column("history/validation", self.history.iter().map(validation).collect());
        column("history/iteration", self.history.iter().map(|row| row.iteration as f64).collect());
        column("history/loss", self.history.iter().map(|row| row.loss).collect());
        column("history/metrics", self.history.iter().flat_map(|row| row.metrics.clone()).collect());
        column("history/watched", self.history.iter().flat_map(|row| row.watched.clone()).collect());
        Ok(state)
    }

    /// Takes a trial that has not begun to where another of the same plan stood. Says whether the state fits; if not,
    /// nothing is changed.
    pub fn restore(&mut self, state: TrialState) -> Result<bool, TensorError> {
        let planned = self.machine.parameters();
        let held = |prefix: &str| -> Option<Vec<Vec<f32>>> {
            let values = planned.iter().map(|(path, _, values)| {
                state.floats.get(&format!("{prefix}/{path}")).filter(|held| held.len() == values.len()).cloned()
            });
            values.collect()
        };
        let Some(parameters) = held("parameters") else { return Ok(false) };
        let Some(history) = history(&state.doubles) else { return Ok(false) };
        let memory = state.doubles.get("rates").cloned().unwrap_or_default();
        let numbers = state.doubles.get("selection").map_or(&[][..], Vec::as_slice);
        let Some(selection) = Selection::restored(numbers, held("best")) else { return Ok(false) };
        let moments: Vec<Vec<f32>> = state
            .floats
            .range("moments/".to_string().."moments0".to_string())
            .map(|(_, values)| values.clone())
            .collect();
        if state.iteration > self.settings.iterations || !self.machine.set_moments(&moments)? {
            return Ok(false);
        }
        self.machine.set_parameters(&parameters)?;
        (self.iteration, self.selection, self.history) = (state.iteration, selection, history);
        self.memory = memory;
        self.replay_order();
        Ok(true)
    }

    /// Draws the order of samples of every epoch that has begun.
    fn replay_order(&mut self) {
        let (n, size) = (self.parts.train.samples, self.settings.batch);
        if size < n {
            (0..self.iteration.div_ceil(n.div_ceil(size))).for_each(|epoch| self.begin_epoch(epoch));
        }
    }

    fn begin_epoch(&mut self, epoch: usize) {
        let n = self.parts.train.samples;
        self.epoch = if self.settings.shuffle { self.order.permutation(epoch, n) } else { (0..n).collect() };
    }

    /// One iteration; a reason where the loss is not finite, and then nothing is changed.
    fn iterate(&mut self, looked: Look) -> Result<Option<String>, TrialError> {
        let batch = self.next_batch();
        let result = self.iterate_on(&batch, looked);
        self.batch = Some(batch);
        result
    }

    fn iterate_on(&mut self, batch: &Arc<Data>, looked: Look) -> Result<Option<String>, TrialError> {
        let recorded = looked.validation.is_some() || self.iteration.is_multiple_of(self.settings.record_every);
        let watch = self.settings.watch.as_ref().filter(|_| recorded);
        let (output, scored) = (&self.settings.output, recorded && !self.settings.metrics.is_empty());
        let read = |path: &str| scored && path == output || watch.is_some_and(|watch| watch.reads(path));
        let looks = self.looks_after(self.iteration + 1);
        self.machine.inspect(looks);
        let loss = self.machine.forward(batch, &read, true)?;
        self.machine.inspect(false);
        if !loss.is_finite() {
            self.machine.inspect(true);
            self.machine.forward(batch, &|path| path == output, false)?;
            self.machine.inspect(false);
            return Ok(Some(self.reason(loss)));
        }
        let signal = if looks { self.machine.broken_signal() } else { None };
        let mut watched = watch.map_or(Vec::new(), |watch| watch.rates(self.machine.as_ref()));
        let metrics = if recorded { self.metrics_of(batch, false)? } else { Vec::new() };
        self.machine.backward(batch)?;
        if recorded {
            if self.history.is_empty() {
                let rows = (self.settings.iterations - self.iteration).div_ceil(self.settings.record_every);
                self.history.reserve_exact(rows.min(MOST_ROWS));
            }
            if let Some(watch) = &self.settings.watch {
                watched.extend(watch.gradients(self.machine.as_mut())?);
            }
            let validation = looked.validation;
            let rate = self.settings.rates.as_ref().map(|rates| rates.base * self.rate());
            self.history.push(HistoryRow { iteration: self.iteration, loss, validation, rate, metrics, watched });
        }
        let scale = match self.settings.clip_norm {
            Some(limit) => {
                let norm = self.machine.gradient_norm()?;
                if norm > limit { (limit / norm) as f32 } else { 1.0 }
            }
            None => 1.0,
        };
        let rate = self.rate();
        self.iteration += 1;
        self.machine.update(Update { number: self.iteration, scale, rate })?;
        Ok(match (signal, if looks { self.machine.broken()? } else { None }) {
            (Some(signal), _) => {
                let (last, since) = (self.iteration - 1, self.since());
                Some(format!("{signal} is not finite at iteration {last}{since}: {NO_VALUE}"))
            }
            (None, Some(what)) => Some(self.broken_after(&what)),
            (None, None) => None,
        })
    }

    /// What learning rates are multiplied with at the present iteration.
    fn rate(&self) -> f64 {
        let Settings { rates, iterations, .. } = &self.settings;
        rates.as_ref().map_or(1.0, |rates| rates.factor(self.iteration, *iterations, &self.memory))
    }

    /// Whether an update, the first being number 1, is followed by a look for numbers that are not finite. They need
    /// not show in the loss: a neuron whose membrane potential is not a number merely never fires again.
    fn looks_after(&self, number: usize) -> bool {
        number == 1 || number.is_multiple_of(LOOK_EVERY) || number == self.settings.iterations
    }

    /// Until when all was finite, where that is not the iteration before the last.
    fn since(&self) -> String {
        let last = self.iteration - 1;
        let before = (1..self.iteration).rev().find(|number| self.looks_after(*number)).map(|number| number - 1);
        match before {
            Some(before) if before + 1 < last => format!(" (after the update of iteration {before} all was finite)"),
            _ => String::new(),
        }
    }

    fn broken_after(&self, what: &str) -> String {
        let (last, since) = (self.iteration - 1, self.since());
        format!(
            "{what} is no longer finite after the update of iteration {last}{since}: an equation has no derivative there, or \
             the update was too large; a smaller `lr` or `clip_norm` helps against the latter"
        )
    }

    /// What of the network is not finite: a parameter, what the optimizer remembers, or a signal or state of the last
    /// [evaluation](Trial::evaluate).
    pub fn broken(&self) -> Result<Option<String>, TrialError> {
        Ok(self.machine.broken()?.or(self.machine.broken_signal()))
    }

    /// The loss of all that is trained on and its gradient with respect to each parameter, by path; changes nothing.
    pub fn gradients(&mut self) -> Result<LossAndGradients, TensorError> {
        let data = self.parts.train.clone();
        let loss = self.machine.forward(&data, &|_| false, true)?;
        self.machine.backward(&data)?;
        let paths = self.machine.parameters().into_iter().map(|(path, ..)| path);
        Ok((loss, paths.zip(self.machine.gradients()?).collect()))
    }

    /// Puts back the best parameters, if they are better than the last: those of the lowest loss on the part that
    /// validates, or where there is none on what is trained on.
    pub fn select(&mut self) -> Result<(), TrialError> {
        if self.selection.best().is_none() {
            return Ok(());
        }
        let judge = self.parts.validation.as_ref().unwrap_or(&self.parts.train).clone();
        let last = self.machine.forward(&judge, &|_| false, false)?;
        if let Some(parameters) = self.selection.take_better_than(last) {
            self.machine.set_parameters(&parameters)?;
        }
        Ok(())
    }

    /// The network as it is, on a part of the data; nothing where there is no such part.
    pub fn evaluate(&mut self, part: Part, wanted: &dyn Fn(&str) -> bool) -> Result<Outcome, TrialError> {
        let data = self.parts.get(part).cloned().unwrap_or_default();
        let output = &self.settings.output;
        self.machine.inspect(true);
        let loss = self.machine.forward(&data, &|path| wanted(path) || path == output, false)?;
        self.machine.inspect(false);
        Ok(Outcome { loss, metrics: self.metrics_of(&data, true)?, signals: self.signals(wanted) })
    }

    /// Signals of the first sample of the part that is shown, alone, `[time, width]` by path.
    pub fn first_sample(&mut self, wanted: &dyn Fn(&str) -> bool) -> Result<Signals, TrialError> {
        let mut sample = Data::default();
        if let Some(data) = self.parts.get(self.parts.shown()) {
            data.pick(std::iter::once(0), &mut sample);
        }
        self.machine.forward(&sample, wanted, false)?;
        Ok(self.signals(wanted))
    }

    /// Signals of the last forward pass that are wanted, and the output.
    fn signals(&self, wanted: &dyn Fn(&str) -> bool) -> Signals {
        let paths = self.settings.signals.iter().filter(|path| wanted(path) || **path == self.settings.output);
        let read = |path: &String| {
            let (width, values) = self.machine.signal(path)?;
            Some((path.clone(), (width, values.into_owned())))
        };
        paths.filter_map(read).collect()
    }

    /// The metrics of the last forward pass; those that the history lacks are `NaN` unless `all` are asked for.
    fn metrics_of(&mut self, batch: &Data, all: bool) -> Result<Vec<f64>, MetricError> {
        if self.settings.metrics.is_empty() {
            return Ok(Vec::new());
        }
        let Some((channels, output)) = self.machine.signal(&self.settings.output) else { return Ok(Vec::new()) };
        let compared = self.own_units.compared(&output, batch, channels);
        let score = |metric: &Arc<dyn Metric>| {
            if all || metric.in_history() { metric.score(compared) } else { Ok(f64::NAN) }
        };
        self.settings.metrics.iter().map(score).collect()
    }

    fn next_batch(&mut self) -> Arc<Data> {
        let (n, size) = (self.parts.train.samples, self.settings.batch);
        if size >= n {
            return self.parts.train.clone();
        }
        let a_pass = n.div_ceil(size);
        let (epoch, place) = (self.iteration / a_pass, self.iteration % a_pass);
        if place == 0 || self.epoch.is_empty() {
            self.begin_epoch(epoch);
        }
        let indices = &self.epoch[place * size..n.min((place + 1) * size)];
        // The batch before is nobody else's by now, so its memory is used again.
        let mut batch = self.batch.take().unwrap_or_default();
        let picked = Arc::make_mut(&mut batch);
        self.parts.train.pick(indices.iter().copied(), picked);
        picked.normalise();
        batch
    }

    /// At the start of an epoch, and of every n-th where only so many are validated: losses that choose parameters or
    /// end training.
    fn look(&mut self) -> Result<Look, TensorError> {
        let Settings { select, patience, batch, validate_every, .. } = self.settings;
        let every = self.parts.train.samples.div_ceil(batch).max(1) * validate_every;
        let validation = self.parts.validation.clone();
        let scheduled = self.settings.rates.as_ref().and_then(|rates| rates.schedule.looks_at());
        let chooses = select == Select::Best || patience.is_some();
        if !self.iteration.is_multiple_of(every) || !(chooses || scheduled.is_some() || validation.is_some()) {
            return Ok(Look::default());
        }
        let mut look = Look::default();
        if chooses && validation.is_none()
            || patience.is_some_and(|patience| patience.training)
            || scheduled == Some(Part::Train)
        {
            let train = self.parts.train.clone();
            look.train = Some(self.machine.forward(&train, &|_| false, false)?);
        }
        if let Some(validation) = validation {
            look.validation = Some(self.machine.forward(&validation, &|_| false, false)?);
        }
        self.selection.see(look, select, patience, self.machine.as_ref());
        let loss = if scheduled == Some(Part::Train) { look.train } else { look.validation };
        if let (Some(rates), Some(loss), Some(_)) = (&self.settings.rates, loss, scheduled) {
            rates.schedule.see(loss, &mut self.memory);
        }
        Ok(look)
    }

    /// Why a loss is not finite, as far as numbers can tell.
    fn reason(&self, loss: f64) -> String {
        let what = format!("the loss is {loss} at iteration {}", self.iteration);
        let data = &self.parts.train;
        let finite = |values: &[f32]| values.iter().all(|x| x.is_finite());
        let broken = self.machine.parameters().into_iter().find(|(.., values)| !finite(values));
        let output = self.machine.signal(&self.settings.output);
        let cause = match (self.iteration, broken) {
            (_, Some((path, ..))) => {
                format!(
                    "`{path}` is no longer finite: the last update was too large; a smaller `lr` or `clip_norm` helps"
                )
            }
            (0, None) if !finite(&data.inputs) || !finite(&data.targets) => {
                "the data have values that are not finite".into()
            }
            (0, None) if let Some(signal) = self.machine.broken_signal() => {
                format!("{signal} is not finite: {NO_VALUE}")
            }
            (0, None) => "initial parameters or input are too large for f32".into(),
            (_, None) if output.is_some_and(|(_, values)| !finite(&values)) => {
                "the network's output overflowed: training diverges; a smaller `lr` or `clip_norm` helps".into()
            }
            (_, None) => {
                "the error is too large for f32: training diverges; a smaller `lr` or `clip_norm` helps".into()
            }
        };
        format!("{what}: {cause}")
    }
}

/// What makes a signal not finite.
const NO_VALUE: &str = "an equation has no value there, or parameters or input are too large for f32";

/// The rows of a history from its columns, if these fit together.
fn history(columns: &BTreeMap<String, Vec<f64>>) -> Option<Vec<HistoryRow>> {
    let iterations = columns.get("history/iteration")?;
    let losses = columns.get("history/loss").filter(|losses| losses.len() == iterations.len())?;
    let (metrics, watched) = (columns.get("history/metrics")?, columns.get("history/watched")?);
    let validation = columns.get("history/validation").filter(|losses| losses.len() == iterations.len())?;
    // A checkpoint of an earlier version has none.
    let rates = columns.get("history/rate").filter(|rates| rates.len() == iterations.len());
    let rows = iterations.len().max(1);
    let part = |values: &[f64], row: usize| {
        let width = values.len() / rows;
        values[row * width..(row + 1) * width].to_vec()
    };
    let row = |(i, (iteration, loss)): (usize, (&f64, &f64))| HistoryRow {
        iteration: *iteration as usize,
        loss: *loss,
        validation: (!validation[i].is_nan()).then_some(validation[i]),
        rate: rates.map(|rates| rates[i]).filter(|rate| !rate.is_nan()),
        metrics: part(metrics, i),
        watched: part(watched, i),
    };
    Some(iterations.iter().zip(losses).enumerate().map(row).collect())
}
