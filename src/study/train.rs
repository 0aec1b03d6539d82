//! Workers: each trains one trial after the other on one thread; one writer stores what they finish.
//!
//! A trial depends on its plan alone, so neither the number of workers nor their order changes a row.

use super::configuration::Configuration;
use super::plan::{Executor, Plan, TrialPlan};
use super::resume::{SaveError, Saves};
use super::rule::Rule;
use super::schedule::Schedule;
use crate::data::split::Part;
use crate::nn::Network;
use crate::nn::fused::FusedNetwork;
use crate::registry::{OnDevice, Registry};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::{Save, Select, Term};
use crate::store::checkpoint;
use crate::store::record::{LayerTrace, Record, Traces};
use crate::store::tables::TRACED_TRIALS;
use crate::store::{Store, StoreError, Weights};
use crate::tensor::TensorError;
use crate::train::draws::{Seeds, draw};
use crate::train::machine::Machine;
use crate::train::machine::fused::{Cut, DirectTerm, FusedMachine};
use crate::train::machine::tape::{LossTerm, TapeMachine};
use crate::train::rivals::rivals;
use crate::train::selection::Patience;
use crate::train::trial::{Settings, Signals};
use crate::train::watch::Watched;
use crate::train::{Metric, Outcome, Progress, Trial, TrialError};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Sees a study go on.
pub trait Watch: Sync {
    /// So many trials more are asked for, of so many iterations together.
    fn asked(&self, trials: usize, iterations: u64);

    /// A trial did so many iterations more, and has this loss.
    fn advanced(&self, iterations: usize, loss: Option<f64>);

    /// A trial ended.
    fn ended(&self, record: &Record);
}

/// Why a study could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Results cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No threads can be had.
    #[error("worker threads cannot be started: {0}")]
    Threads(String),
    /// It was asked to stop.
    #[error("the trial was stopped")]
    Stopped,
}

/// Why an attempt at a trial came to nothing.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    /// The trial failed.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// It could not be saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// Its configuration, which was checked, is not what it was.
    #[error("the configuration cannot be built again: {0}")]
    Configuration(String),
}

/// What of a trial is kept beside its loss and history.
#[derive(Debug, Clone, Copy)]
struct Keep {
    traces: bool,
    layers: bool,
    weights: bool,
}

impl Keep {
    /// Sequences of the first trials in the order of rows. Where results decide how many seeds a configuration has,
    /// each has its share.
    fn by_place(plan: &Plan) -> impl Fn(&TrialPlan) -> Keep + Sync {
        let share = TRACED_TRIALS / plan.configurations.list.len();
        let mut seeds = plan.spec.seeds[..plan.sure_seeds().max(share).min(plan.spec.seeds.len())].to_vec();
        seeds.sort_unstable();
        let weights = plan.spec.save != Save::None;
        move |trial| {
            let rank = seeds.binary_search(&trial.seed).ok().map(|seed| trial.configuration * seeds.len() + seed);
            Keep { traces: rank.is_some_and(|rank| rank < TRACED_TRIALS), layers: rank == Some(0), weights }
        }
    }
}

/// Trains trials of the plan, from those at the places `due` on, until the schedule asks for no more, on `jobs` workers.
/// Says whether all that was asked for has ended.
pub fn train<D: OnDevice>(
    registry: &Registry,
    store: &mut Store,
    schedule: &mut Schedule<'_>,
    due: Vec<usize>,
    jobs: usize,
    stop: &AtomicBool,
    watch: &dyn Watch,
) -> Result<bool, TrainError> {
    let (plan, dir) = (schedule.plan(), store.dir().to_path_buf());
    // With a rule more trials may follow than are due now.
    let most = if matches!(plan.rule, Rule::Fixed) { due.len() } else { plan.trials.len() };
    let pools = (0..jobs.clamp(1, most.max(1))).map(|_| pool(plan)).collect::<Result<Vec<_>, _>>()?;
    let (to_writer, from_workers) = mpsc::channel();
    let (queue, keep) = (Queue::new(due), Keep::by_place(plan));
    std::thread::scope(|scope| {
        for pool in &pools {
            let to_writer = to_writer.clone();
            let (queue, keep, dir) = (&queue, &keep, dir.as_path());
            scope.spawn(move || {
                pool.install(|| {
                    let mut built = None;
                    while let Some(place) = queue.next() {
                        let planned = &plan.trials[place];
                        let job = Job { plan, registry, planned, keep: keep(planned), dir: Some(dir), stop, watch };
                        let Some(result) = job.run::<D>(&mut built) else { return queue.close() };
                        if to_writer.send((place, result)).is_err() {
                            return;
                        }
                    }
                });
            });
        }
        drop(to_writer);
        let mut told = |place: usize, record: &Record| {
            watch.ended(record);
            let due = schedule.ended(place, &record.row());
            let more: Vec<&TrialPlan> = due.iter().map(|place| &plan.trials[*place]).collect();
            watch.asked(more.len(), plan.iterations(&more));
            queue.add(due);
            if schedule.is_finished() {
                queue.close();
            }
        };
        let written = write_results(store, from_workers, &mut told);
        if written.is_err() {
            stop.store(true, Ordering::Relaxed);
            queue.close();
        }
        written
    })?;
    Ok(schedule.is_finished())
}

/// Trials that wait for a worker, by their places in the plan.
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

struct Waiting {
    places: VecDeque<usize>,
    /// Whether no more will come.
    closed: bool,
}

impl Queue {
    fn new(places: Vec<usize>) -> Queue {
        let closed = places.is_empty();
        Queue { state: Mutex::new(Waiting { places: places.into(), closed }), changed: Condvar::new() }
    }

    /// The lock; what a thread that panicked left behind is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a trial; none once the queue is closed.
    fn next(&self) -> Option<usize> {
        let idle = |waiting: &mut Waiting| waiting.places.is_empty() && !waiting.closed;
        let mut waiting = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.closed { None } else { waiting.places.pop_front() }
    }

    fn add(&self, places: Vec<usize>) {
        if !places.is_empty() {
            self.lock().places.extend(places);
            self.changed.notify_all();
        }
    }

    /// Nobody gets another trial.
    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Threads for one trial at a time. dfdx's products ask rayon for threads, so only the fused executor, which asks for
/// them itself, gets several.
fn pool(plan: &Plan) -> Result<rayon::ThreadPool, TrainError> {
    let threads = if plan.executor == Executor::Fused { plan.spec.threads } else { 1 };
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    built.map_err(|error| TrainError::Threads(error.to_string()))
}

/// Trains one trial and leaves nothing on disk: its record without traces, and its weights if they are stored.
pub fn once<D: OnDevice>(plan: &Plan, registry: &Registry, planned: &TrialPlan) -> Result<Finished, TrainError> {
    let keep = Keep { traces: false, layers: false, weights: plan.spec.save == Save::All };
    let stop = AtomicBool::new(false);
    let job = Job { plan, registry, planned, keep, dir: None, stop: &stop, watch: &Silent };
    Ok(pool(plan)?.install(|| job.run::<D>(&mut None)).ok_or(TrainError::Stopped)??)
}

/// Says nothing.
struct Silent;

impl Watch for Silent {
    fn asked(&self, _: usize, _: u64) {}

    fn advanced(&self, _: usize, _: Option<f64>) {}

    fn ended(&self, _: &Record) {}
}

/// Stores what workers hand over, and tells of it.
fn write_results(
    store: &mut Store,
    from_workers: mpsc::Receiver<(usize, Result<Finished, StoreError>)>,
    told: &mut dyn FnMut(usize, &Record),
) -> Result<(), StoreError> {
    from_workers.into_iter().try_for_each(|(place, finished)| {
        let (record, weights) = finished?;
        let trial = record.trial.clone();
        told(place, store.add(record, weights.as_ref())?);
        checkpoint::forget(store.dir(), &trial)
    })
}

/// What a worker hands over.
pub type Finished = (Record, Option<Weights>);

/// A trial that a worker trains.
struct Job<'a> {
    plan: &'a Plan,
    registry: &'a Registry,
    planned: &'a TrialPlan,
    keep: Keep,
    /// Where its checkpoints lie, if it has any.
    dir: Option<&'a Path>,
    stop: &'a AtomicBool,
    watch: &'a dyn Watch,
}

impl Job<'_> {
    /// Trains the trial; nothing if it was asked to stop. Whatever goes wrong inside is the trial's failure alone.
    /// What was built for its configuration is left for the next trial, which mostly is one of the same.
    fn run<D: OnDevice>(&self, built: &mut Option<Built>) -> Option<Result<Finished, StoreError>> {
        let started = now();
        // A clock that is set back while a trial runs does not let it end before it began.
        let clock = Instant::now();
        let finished = || started + clock.elapsed().as_micros() as i64;
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let known = built.take();
            self.attempt::<D>(built.insert(self.build(known)?))
        }));
        let failure = |error: String| Record { error: Some(error), ..blank(self.plan, self.planned, started) };
        match attempt {
            Ok(Ok(None)) => None,
            Ok(Ok(Some((record, weights)))) => Some(Ok((Record { started, finished: finished(), ..record }, weights))),
            Ok(Err(AttemptError::Save(SaveError::Store(error)))) => Some(Err(error)),
            Ok(Err(error)) => Some(Ok((Record { finished: finished(), ..failure(error.to_string()) }, None))),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default();
                Some(Ok((Record { finished: finished(), ..failure(format!("internal error: {text}")) }, None)))
            }
        }
    }

    /// Builds and compiles the configuration, as far as `before` is not that of this trial too.
    fn build(&self, before: Option<Built>) -> Result<Built, AttemptError> {
        let of = self.planned.configuration;
        let before = match before {
            Some(built) if built.of == of => return Ok(built),
            before => before,
        };
        let failed = |found: Diagnostics| {
            let texts = found.list.iter().map(|diagnostic| diagnostic.problem.to_string());
            AttemptError::Configuration(texts.collect::<Vec<_>>().join("; "))
        };
        let configuration = self.plan.build(self.planned, self.registry).map_err(failed)?;
        let compiled = match before {
            Some(before) if same_network(&before.configuration, &configuration) => before.compiled,
            _ => Compiled::new(&configuration, self.registry, self.plan.executor),
        };
        Ok(Built { of, configuration, compiled })
    }

    fn attempt<D: OnDevice>(&self, built: &Built) -> Result<Option<Finished>, AttemptError> {
        let Job { plan, registry, planned, keep, dir, stop, watch } = *self;
        let Built { configuration, compiled, .. } = built;
        let mut trial = compiled.prepare::<D>(configuration, registry, planned.seed)?;
        let output = configuration.network.output();
        let shown = trial.parts().shown();
        let untrained = if keep.traces { Some(trial.evaluate(shown, &|_| false)?) } else { None };
        let mut saves = Saves::begin(dir, &planned.id, configuration.spec.train.save_every, &mut trial)?;
        watch.advanced(trial.iteration(), None);
        let stride = saves.stride((configuration.iterations / 200).max(1));
        let progress = loop {
            let before = trial.iteration();
            let progress = trial.advance(before + stride, stop)?;
            watch.advanced(trial.iteration() - before, trial.latest_loss());
            if progress != Progress::Reached {
                break progress;
            }
            saves.look(&trial)?;
        };
        let duration = saves.seconds();
        let mut record = blank(plan, planned, 0);
        record.iterations = trial.iteration();
        record.duration_s = vec![duration];
        let names = configuration.spec.train.watch.then(|| Watched::new(&configuration.network).names());
        let column = |(i, name)| (name, trial.history.iter().map(|row| row.watched[i]).collect());
        record.watched = names.into_iter().flatten().enumerate().map(column).collect();
        if trial.parts().validation.is_some() {
            let losses = trial.history.iter().map(|row| row.validation.unwrap_or(f64::NAN)).collect();
            record.watched.insert(0, ("validation.loss".into(), losses));
        }
        record.history = trial.history.iter().map(|row| row.iteration).collect();
        record.history_values =
            trial.history.iter().flat_map(|row| std::iter::once(row.loss).chain(row.metrics.iter().copied())).collect();
        match progress {
            Progress::Interrupted => {
                saves.save(&trial)?;
                return Ok(None);
            }
            Progress::Failed(reason) => {
                record.error = Some(reason);
                return Ok(Some((record, None)));
            }
            Progress::Reached | Progress::Finished => {}
        }
        if configuration.spec.train.select == Select::Best {
            trial.select()?;
        }
        let trained = trial.evaluate(Part::Train, &|_| false)?;
        if !trained.loss.is_finite() {
            record.error = Some(format!("the loss is {} after training: the last update was too large", trained.loss));
            return Ok(Some((record, None)));
        }
        record.loss = vec![trained.loss];
        record.metrics = trained.metrics.clone();
        let mut seen = trained;
        for (part, _) in configuration.dataset.parts().into_iter().filter(|(part, _)| *part != Part::Train) {
            seen = trial.evaluate(part, &|_| false)?;
            record.metrics.extend(&seen.metrics);
            if part == Part::Validation {
                record.metrics.push(seen.loss);
            }
        }
        let trained = seen;
        record.traces = untrained.map(|untrained| traces(configuration, &trial, &untrained, &trained, &output));
        let parts = trial.parts();
        if parts.train.units.is_some() || parts.shown() != Part::Train {
            let metrics = configuration.spec.train.metrics.iter().map(|metric| registry.metric(metric));
            record.baselines = rivals(parts, &metrics.collect::<Vec<_>>()).map_err(TrialError::from)?;
        }
        let parameters = trial.parameters();
        if keep.layers {
            let inner = |path: &str| path.ends_with(".membrane") || path.ends_with(".spikes");
            record.layers = layer_traces(configuration, &trial.first_sample(&inner)?, &parameters);
        }
        let scale = trial.parts().scale.clone();
        let weights = keep.weights.then_some(Weights { parameters, scale });
        Ok(Some((record, weights)))
    }
}

fn blank(plan: &Plan, planned: &TrialPlan, started: i64) -> Record {
    let configuration = plan.configuration(planned);
    Record {
        trial: planned.id.clone(),
        config: configuration.id.clone(),
        params: configuration.params.clone(),
        seed: planned.seed,
        error: None,
        loss: Vec::new(),
        metrics: Vec::new(),
        iterations: 0,
        started,
        finished: started,
        duration_s: vec![0.0],
        history: Vec::new(),
        history_values: Vec::new(),
        watched: Vec::new(),
        baselines: Vec::new(),
        traces: None,
        layers: Vec::new(),
        weights_bytes: None,
    }
}

/// What a worker leaves for its next trial.
struct Built {
    /// The configuration's place in the plan.
    of: usize,
    configuration: Arc<Configuration>,
    compiled: Compiled,
}

/// Whether two configurations have the same network with the same losses on it, so that what is compiled for one of them
/// serves the other.
fn same_network(a: &Configuration, b: &Configuration) -> bool {
    let loss = |of: &Configuration| {
        of.spec.train.loss.iter().map(|term| (term.loss.kind.clone(), signal_of(of, term))).collect::<Vec<_>>()
    };
    let inputs = |of: &Configuration| of.data.inputs.len();
    a.spec.resolved.get("layer") == b.spec.resolved.get("layer")
        && inputs(a) == inputs(b)
        && loss(a) == loss(b)
        && a.spec.train.tbptt == b.spec.train.tbptt
}

/// What the trials of a configuration share beside its plan: compiled layers, where the executor compiles.
pub struct Compiled(Option<FusedNetwork>);

impl Compiled {
    /// Compiles for an executor.
    pub fn new(plan: &Configuration, registry: &Registry, executor: Executor) -> Compiled {
        Compiled(match executor {
            Executor::Fused => fused_network(plan, registry),
            Executor::Reference => None,
        })
    }

    /// Draws data and parameters of a seed, and builds the trial.
    pub fn prepare<D: OnDevice>(
        &self,
        plan: &Configuration,
        registry: &Registry,
        seed: u64,
    ) -> Result<Trial, TrialError> {
        let spec = &plan.spec;
        let metrics: Vec<Arc<dyn Metric>> = spec.train.metrics.iter().map(|metric| registry.metric(metric)).collect();
        metrics.iter().try_for_each(|metric| metric.ready())?;
        let seeds = Seeds { trial: seed, data: spec.data_seed, init: spec.init_seed };
        let mut drawn = draw(&plan.generator, seeds, &plan.dataset, &plan.network)?;
        if let Some(stored) = &plan.weights {
            drawn.parameters.clone_from(&stored.values);
        }
        let settings = Settings {
            iterations: plan.iterations,
            batch: spec.train.batch,
            shuffle: spec.train.shuffle,
            clip_norm: spec.train.clip_norm,
            record_every: spec.train.record_every,
            select: spec.train.select,
            validate_every: spec.train.validate_every,
            patience: spec.train.early_stop.as_ref().map(|early| Patience {
                looks: early.patience,
                min_change: early.min_change,
                training: early.of.0 == "loss",
            }),
            metrics,
            watch: spec.train.watch.then(|| Watched::new(&plan.network)),
            output: plan.network.output(),
            signals: plan.network.signals(),
        };
        let machine = self.machine::<D>(plan, registry, &drawn.parameters)?;
        Ok(Trial::new(machine, drawn.data, drawn.order, settings))
    }

    /// The network with parameters by path.
    pub fn machine<D: OnDevice>(
        &self,
        plan: &Configuration,
        registry: &Registry,
        values: &HashMap<String, Vec<f32>>,
    ) -> Result<Box<dyn Machine>, TensorError> {
        match &self.0 {
            Some(network) => Ok(fused_machine(plan, registry, network.with_values(values))),
            None => tape_machine::<D>(plan, registry, values),
        }
    }
}

/// The signal that a loss reads.
fn signal_of(plan: &Configuration, term: &Term) -> String {
    term.of.as_ref().map_or_else(|| plan.network.output(), |(signal, _)| signal.clone())
}

/// The fused network, if every layer and loss has a fused form.
fn fused_network(plan: &Configuration, registry: &Registry) -> Option<FusedNetwork> {
    let layers = plan.spec.layers.iter().map(|layer| &layer.component);
    let forms = layers.map(|layer| registry.layer_kind(&layer.kind).fused(&layer.args, registry));
    let forms = forms.collect::<Option<Vec<_>>>()?;
    let direct = |term: &Term| registry.loss(&term.loss.kind).build.direct.is_some();
    let losses = &plan.spec.train.loss;
    let read: Vec<String> = losses.iter().map(|term| signal_of(plan, term)).collect();
    losses.iter().all(direct).then(|| FusedNetwork::new(&plan.network, forms, &read, plan.spec.train.tbptt))
}

fn fused_machine(plan: &Configuration, registry: &Registry, network: FusedNetwork) -> Box<dyn Machine> {
    let spec = &plan.spec;
    let losses = spec.train.loss.iter().filter_map(|term| {
        let loss = registry.loss(&term.loss.kind).build.direct?;
        Some(DirectTerm { loss, weight: term.weight as f32, signal: signal_of(plan, term) })
    });
    let cut = Cut { segments: spec.train.recompute, threads: spec.threads };
    let rule = registry.rule(&spec.optimizer);
    Box::new(FusedMachine::new(network, rule, losses.collect(), cut))
}

fn tape_machine<D: OnDevice>(
    plan: &Configuration,
    registry: &Registry,
    values: &HashMap<String, Vec<f32>>,
) -> Result<Box<dyn Machine>, TensorError> {
    let spec = &plan.spec;
    let device = D::open().map_err(TensorError::from_device)?;
    let layers = spec
        .layers
        .iter()
        .map(|layer| D::layer(registry.layer_kind(&layer.component.kind).as_ref(), &layer.component.args, registry));
    let network = Network::build(&plan.network, layers.collect(), values, &device, spec.train.tbptt)?;
    let losses = spec.train.loss.iter().map(|term| LossTerm {
        loss: D::loss(&registry.loss(&term.loss.kind).build, &term.loss.args),
        weight: term.weight,
        signal: signal_of(plan, term),
    });
    let optimizer = registry.optimizer(&spec.optimizer);
    Ok(Box::new(TapeMachine::new(device, network, optimizer, losses.collect())))
}

/// Inputs, targets and outputs of the first samples of the part that is shown, in their own units.
fn traces(plan: &Configuration, trial: &Trial, untrained: &Outcome, trained: &Outcome, output: &str) -> Traces {
    let Some(data) = trial.parts().get(trial.parts().shown()) else { return Traces::default() };
    let samples = data.samples.min(plan.spec.report_samples);
    // A short sequence ends before the others do.
    let ends: Vec<usize> = (0..samples)
        .map(|s| (0..data.steps).rev().find(|t| data.counts(t * data.samples + s)).map_or(0, |last| last + 1))
        .collect();
    // From [time, sample, channel] to [sample, time, channel].
    let turn = |values: &[f32]| -> Vec<f32> {
        let width = values.len() / (data.steps * data.samples).max(1);
        let cell = |s: usize, t: usize| (t * data.samples + s) * width;
        let row = |s: usize, t: usize| {
            let there = t < ends[s];
            (cell(s, t)..cell(s, t) + width).map(move |i| if there { values[i] } else { f32::NAN })
        };
        (0..samples).flat_map(|s| (0..data.steps).flat_map(move |t| row(s, t)).collect::<Vec<_>>()).collect()
    };
    let own = |values: &[f32]| {
        let mut values = values.to_vec();
        data.in_own_units(&mut values);
        turn(&values)
    };
    let signal = |outcome: &Outcome| outcome.signals.get(output).map_or(Vec::new(), |(_, values)| own(values));
    Traces {
        steps: data.steps,
        samples,
        input: turn(&data.inputs_in_own_units()),
        target: own(&data.targets),
        untrained: signal(untrained),
        output: signal(trained),
    }
}

fn layer_traces(
    plan: &Configuration,
    signals: &Signals,
    parameters: &[(String, Vec<usize>, Vec<f32>)],
) -> Vec<LayerTrace> {
    let of = |layer: &crate::nn::LayerPlan| {
        let first = |signal: &str| {
            signals.get(&format!("{}.{signal}", layer.name)).map_or(Vec::new(), |(_, values)| values.clone())
        };
        let threshold = parameters.iter().find(|(path, ..)| *path == format!("{}.threshold", layer.name));
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        LayerTrace {
            layer: layer.name.clone(),
            neurons: layer.size,
            mem: first("membrane"),
            spk: first("spikes"),
            threshold: threshold.map(|(.., values)| mean(values)).into_iter().collect(),
        }
    };
    plan.network.layers.iter().map(of).collect()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
