//! A trial as a worker runs it: from its plan to the record that is stored of it.

use super::compiled::Compiled;
use super::configuration::Configuration;
use super::plan::{Plan, TrialPlan};
use super::resume::{SaveError, Saves};
use super::watch::Watch;
use crate::data::split::Part;
use crate::registry::{OnDevice, Registry};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::{Save, Select};
use crate::store::record::{LayerTrace, RATE, Record, Traces};
use crate::store::tables::TRACED_TRIALS;
use crate::store::{StoreError, Weights};
use crate::train::rivals::rivals;
use crate::train::trial::Signals;
use crate::train::watch::Watched;
use crate::train::{Outcome, Progress, Trial, TrialError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
pub struct Keep {
    /// Inputs, targets and outputs of its first samples.
    pub traces: bool,
    /// States of its neurons.
    pub layers: bool,
    /// Its parameters.
    pub weights: bool,
}

impl Keep {
    /// Sequences of the first trials in the order of rows. Where results decide how many seeds a configuration has,
    /// each has its share.
    pub fn by_place(plan: &Plan) -> impl Fn(&TrialPlan) -> Keep + Sync {
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

/// What a worker hands over.
pub type Finished = (Record, Option<Weights>);

/// A trial that a worker trains.
pub struct Job<'a> {
    /// The study.
    pub plan: &'a Plan,
    /// The components.
    pub registry: &'a Registry,
    /// The trial.
    pub planned: &'a TrialPlan,
    /// What is kept of it.
    pub keep: Keep,
    /// Where its checkpoints lie, if it has any.
    pub dir: Option<&'a Path>,
    /// Set where it is to stop.
    pub stop: &'a AtomicBool,
    /// Sees it go on.
    pub watch: &'a dyn Watch,
}

impl Job<'_> {
    /// Trains the trial; nothing if it was asked to stop. Whatever goes wrong inside is the trial's failure alone.
    /// What was built for its configuration is left for the next trial, which mostly is one of the same.
    pub fn run<D: OnDevice>(&self, built: &mut Option<Built>) -> Option<Result<Finished, StoreError>> {
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
        let failed = |found: Diagnostics| AttemptError::Configuration(found.in_a_line());
        let configuration = self.plan.build(self.planned, self.registry).map_err(failed)?;
        let compiled = Compiled::new(&configuration, before.map(|before| before.compiled));
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
        record.data_digest = configuration.dataset.dataset().program().map(|_| trial.parts().digest());
        let names = configuration.spec.train.watch.then(|| Watched::new(&configuration.network).names());
        let column = |(i, name)| (name, trial.history.iter().map(|row| row.watched[i]).collect());
        record.watched = names.into_iter().flatten().enumerate().map(column).collect();
        if configuration.spec.optimizer.schedule.is_some() {
            let rates = trial.history.iter().map(|row| row.rate.unwrap_or(f64::NAN)).collect();
            record.watched.insert(0, (RATE.into(), rates));
        }
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
        let mut broken = trial.broken()?;
        record.loss = vec![trained.loss];
        record.metrics = trained.metrics.clone();
        let mut seen = trained;
        for (part, _) in configuration.dataset.parts().into_iter().filter(|(part, _)| *part != Part::Train) {
            seen = trial.evaluate(part, &|_| false)?;
            broken = broken.or(trial.broken()?);
            record.metrics.extend(&seen.metrics);
            if part == Part::Validation {
                record.metrics.push(seen.loss);
            }
        }
        if let Some(what) = broken {
            let error = format!("{what} is not finite after training");
            return Ok(Some((Record { error: Some(error), loss: Vec::new(), metrics: Vec::new(), ..record }, None)));
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
        parameters: Some(configuration.parameters as u64),
        executor: Some(configuration.executor.as_str().into()),
        data_digest: None,
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
pub struct Built {
    /// The configuration's place in the plan.
    of: usize,
    configuration: Arc<Configuration>,
    compiled: Compiled,
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
    let turn = |values: &[f64]| -> Vec<f64> {
        let width = values.len() / (data.steps * data.samples).max(1);
        let cell = |s: usize, t: usize| (t * data.samples + s) * width;
        let row = |s: usize, t: usize| {
            let there = t < ends[s];
            (cell(s, t)..cell(s, t) + width).map(move |i| if there { values[i] } else { f64::NAN })
        };
        (0..samples).flat_map(|s| (0..data.steps).flat_map(move |t| row(s, t)).collect::<Vec<_>>()).collect()
    };
    let own = |values: &[f32]| {
        let mut own = Vec::new();
        data.in_own_units(values, &mut own);
        turn(&own)
    };
    let mut targets = Vec::new();
    data.targets_in_own_units(&mut targets);
    let signal = |outcome: &Outcome| outcome.signals.get(output).map_or(Vec::new(), |(_, values)| own(values));
    Traces {
        steps: data.steps,
        samples,
        input: turn(&data.inputs_in_own_units()),
        target: turn(&targets),
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
