//! What a study will hold in memory, counted before anything is asked for and compared with what the machine has.
//!
//! A worker has a trial: parameters with their gradients and moments, what layers keep of the steps, data, and the rows
//! of its history. Beside the workers the results of trials wait for the tables. The counts are those of what is
//! allocated, as far as it is large; the reference executor was measured to keep about as much of a sample as the fused one,
//! but of all samples at once.

use super::compiled::signal_of;
use super::configuration::Configuration;
use super::runs::Executor;
use crate::data::memory::{Allowance, bytes, room};
use crate::data::split::Part;
use crate::nn::LayerPlan;
use crate::nn::fused::Form;
use crate::nn::fused::size::{Size, product};
use crate::spec::diagnostic::{Diagnostic, Problem};
use crate::spec::source::Span;
use crate::spec::tree::Node;
use crate::spec::{Save, Segments, Select, Spec};
use crate::store::tables::TRACED_TRIALS;
use crate::train::watch::Watched;

/// Bytes below which nobody asks what the machine has: a study with very many configurations would ask for each.
const LITTLE: usize = 1 << 28;

/// Numbers of each parameter that a worker holds: what is compiled and the trial's own, both also turned round, its
/// gradient and that of a thread, and three moments. What is stored at the end takes the place of some of these.
const OF_PARAMETER: usize = 9;

/// Bytes of a row of the history that was merged into the tables and read by the report, and of each column beside the
/// loss.
const ROW: [usize; 2] = [100, 24];

/// Bytes of a neuron's step in the table of states, likewise, and of a channel's step in that of traces.
const CELL: usize = 200;

/// Bytes that a study holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Parameters, gradients and moments of a worker.
    parameters: usize,
    /// States, signals and their gradients of a worker.
    signals: usize,
    /// Data of a worker.
    data: usize,
    /// The history of a worker's trial.
    history: usize,
    /// What waits of each trial that ended.
    waiting: usize,
    /// What tables and report take of each trial.
    rows: usize,
    /// What they take of the trials that are shown.
    shown: usize,
    /// Trials whose sequences are stored, at most.
    traced: usize,
}

impl Footprint {
    fn worker(&self) -> usize {
        [self.parameters, self.signals, self.data, self.history].into_iter().fold(0, usize::saturating_add)
    }

    /// What so many workers hold at most while they run so many trials, or when these have ended. About half of what is
    /// given back is not used again.
    fn total(&self, workers: usize, trials: usize) -> usize {
        let waiting = trials.saturating_mul(self.waiting);
        let running = workers.min(trials).saturating_mul(self.worker()).saturating_add(waiting);
        let results = self.results(trials);
        running.max(results).saturating_add(running.min(results) / 2)
    }

    /// What the results of so many trials take until they are tables and a page.
    fn results(&self, trials: usize) -> usize {
        let traced = trials.min(TRACED_TRIALS).saturating_mul(self.traced);
        trials.saturating_mul(self.rows).saturating_add(self.shown).saturating_add(traced)
    }
}

/// What trials of a configuration hold, and what they would hold if they were cut up.
#[derive(Debug, Clone)]
pub struct Estimate {
    now: Footprint,
    /// With other keys, as these are written.
    otherwise: Vec<(&'static str, Footprint)>,
    /// Where most of it is asked for: of parameters, signals, data, and the history.
    places: [Option<Span>; 4],
}

impl Estimate {
    /// Counts a configuration.
    pub fn new(configuration: &Configuration) -> Estimate {
        let counts = Counts::new(configuration);
        let train = &configuration.spec.train;
        let threads = configuration.spec.threads;
        let now = counts.held(train.batch, train.recompute, threads);
        let others = [
            ("`recompute = \"sqrt\"`", counts.held(train.batch, Segments::Sqrt, threads)),
            ("`batch = 1`", counts.held(1, train.recompute, threads)),
            ("`threads = 1`", counts.held(train.batch, train.recompute, 1)),
        ];
        // What hardly helps is no advice.
        let helps = |other: &Footprint| (other.worker() as f64) < 0.8 * now.worker() as f64;
        let otherwise = others.into_iter().filter(|(_, held)| helps(held)).collect();
        Estimate { now, otherwise, places: places(&configuration.spec, counts.largest_layer()) }
    }

    /// Which of two takes more.
    pub fn larger(self, other: Option<Estimate>) -> Estimate {
        let size = |one: &Estimate| one.now.worker().saturating_add(one.now.rows);
        match other {
            Some(other) if size(&other) >= size(&self) => other,
            _ => self,
        }
    }

    /// Refuses what is more than the machine has, for so many trials of which `jobs` run side by side.
    pub fn check(&self, jobs: usize, trials: usize) -> Option<Diagnostic> {
        let needed = self.now.total(jobs, trials);
        let Allowance { there, left } = if needed < LITTLE { None } else { room() }?;
        (needed > left).then(|| self.refusal([needed, left, there], jobs, trials))
    }

    fn refusal(&self, [needed, left, there]: [usize; 3], jobs: usize, trials: usize) -> Diagnostic {
        let Footprint { parameters, signals, data, history, .. } = self.now;
        let workers = jobs.min(trials);
        let mut ways: Vec<String> = Vec::new();
        let results = self.now.results(trials);
        let (at, text) = if results >= workers.saturating_mul(self.now.worker()) {
            let Footprint { rows, shown, traced, .. } = self.now;
            let tables = [
                (trials.saturating_mul(rows), 3, "`record_every` leaves rows of the history out"),
                (shown, 1, "most of it are the states of every neuron for a sample"),
                (trials.min(TRACED_TRIALS).saturating_mul(traced), 1, "`[report] samples` says how many are stored"),
            ];
            let (_, place, way) = tables.into_iter().max_by_key(|(size, ..)| *size).unwrap_or_default();
            let of = if trials == 1 { "a trial".into() } else { format!("{trials} trials") };
            ways.push(way.into());
            let text = format!(
                "the results of {of} take about {} until they are tables and a page, and there are {}",
                bytes(results),
                bytes(there),
            );
            (self.places[place], text)
        } else {
            let parts = [
                (parameters, "parameters with gradients and moments"),
                (signals, "states and signals"),
                (data, "data"),
                (history, "rows of the history"),
            ];
            let said = parts.iter().filter(|(size, _)| *size > self.now.worker() / 100);
            let said: Vec<String> = said.map(|(size, what)| format!("{what} {}", bytes(*size))).collect();
            let each = if workers > 1 { format!("{workers} trials side by side, each") } else { "a trial".into() };
            let text = format!(
                "training takes about {}, and there are {}: {each} with {}",
                bytes(needed),
                bytes(there),
                said.join(", ")
            );
            let largest = (0..4).max_by_key(|i| parts[*i].0).and_then(|i| self.places[i]);
            let others = self.otherwise.iter().map(|(keys, held)| (*keys, held.total(jobs, trials)));
            let fewer =
                (1..workers).rev().map(|jobs| (jobs, self.now.total(jobs, trials))).find(|(_, size)| *size <= left);
            let all: Vec<String> = (others.map(|(keys, size)| (keys.to_string(), size)))
                .chain(fewer.map(|(jobs, size)| (format!("`--jobs {jobs}`"), size)))
                .map(|(keys, size)| format!("{keys} {}", bytes(size)))
                .collect();
            ways.extend((!all.is_empty()).then(|| format!("it would take with {}", all.join(", with "))));
            (largest, text)
        };
        let refused = Diagnostic { span: at, ..Diagnostic::without_place(Problem::Shape(text)) };
        refused.label("most of it is asked for here").help(ways.pop())
    }
}

/// What is counted.
struct Counts<'a> {
    configuration: &'a Configuration,
    size: Size,
}

impl<'a> Counts<'a> {
    fn new(configuration: &'a Configuration) -> Counts<'a> {
        let spec = &configuration.spec;
        let losses: Vec<String> = spec.train.loss.iter().map(|term| signal_of(configuration, term)).collect();
        // A layer without a fused form is taken for its weights.
        let forms = configuration.layers.iter().map(|layer| layer.fused().unwrap_or(Form::Dense)).collect::<Vec<_>>();
        Counts { configuration, size: Size::of(&configuration.network, &forms, &losses) }
    }

    fn largest_layer(&self) -> Option<usize> {
        let layers = self.configuration.network.layers.iter().enumerate();
        let numbers = |layer: &LayerPlan| layer.parameters.iter().map(|p| product(&p.shape)).max();
        layers.max_by_key(|(_, layer)| numbers(layer)).map(|(i, _)| i)
    }

    fn held(&self, batch: usize, segments: Segments, threads: usize) -> Footprint {
        let Configuration { spec, network, data, .. } = self.configuration;
        let history = self.history();
        let layers = network
            .layers
            .iter()
            .filter(|layer| layer.signals.iter().any(|signal| signal == "membrane" || signal == "spikes"));
        let cells = layers.fold(0usize, |cells, layer| cells.saturating_add(product(&[data.steps, layer.size])));
        let shown = data.samples.min(spec.report_samples);
        let channels = data.inputs.len().max(data.targets.len());
        let copies = OF_PARAMETER + usize::from(spec.train.select == Select::Best) + 2 * usize::from(spec.train.watch)
            - 2 * usize::from(spec.save == Save::None);
        Footprint {
            parameters: product(&[4 * copies, self.size.parameters]),
            signals: self.signals(batch, segments, threads),
            data: self.data(batch),
            history: history.0,
            waiting: history.1,
            rows: history.2,
            shown: product(&[CELL, cells]),
            traced: product(&[CELL, shown, data.steps, channels]),
        }
    }

    /// What layers keep of the samples that go through together, for each shape that is met.
    fn signals(&self, batch: usize, segments: Segments, most_threads: usize) -> usize {
        let Configuration { data, dataset, .. } = self.configuration;
        let trained = dataset.trained_on();
        let batch = batch.min(trained).max(1);
        let parts = dataset.parts().into_iter().map(|(_, samples)| samples).chain([trained]);
        if self.configuration.executor == Executor::Reference {
            let most = parts.max().unwrap_or(0);
            return product(&[4, self.size.room(data.steps, batch.max(most))]);
        }
        let length = segments.length(data.steps);
        let lengths = [length, data.steps % length];
        let mut shapes: Vec<[usize; 2]> = Vec::new();
        let mut threads = 1;
        for samples in parts.chain([batch, trained % batch, 1]).filter(|samples| *samples > 0) {
            let chunk = self.size.chunk(length, samples, length < data.steps);
            threads = threads.max(most_threads.min(samples.div_ceil(chunk)));
            shapes.extend([chunk, samples % chunk].into_iter().flat_map(|chunk| lengths.map(|length| [length, chunk])));
        }
        shapes.sort_unstable();
        shapes.dedup();
        let rooms = shapes.into_iter().map(|[steps, samples]| self.size.room(steps, samples));
        product(&[4, threads, rooms.fold(0, usize::saturating_add)])
    }

    /// What a trial draws, the samples that are worked on, and outputs in their own units.
    fn data(&self, batch: usize) -> usize {
        let Configuration { data, dataset, .. } = self.configuration;
        let (inputs, targets) = (data.inputs.len(), data.targets.len());
        // Tables have targets in their own units and the latest known ones beside them, and a weight a step.
        let of_step = 4 * (inputs + targets) + if dataset.content().is_some() { 16 * targets + 4 } else { 0 };
        let parts = dataset.parts();
        let all = data.samples.saturating_mul(if parts.is_empty() { 1 } else { 2 });
        let worked_on = batch.min(dataset.trained_on());
        let judged = parts.iter().map(|(_, samples)| *samples).max().unwrap_or(data.samples);
        product(&[data.steps, all.saturating_add(worked_on), of_step])
            .saturating_add(product(&[data.steps, judged, targets, 32]))
    }

    /// The rows of a trial's history while it runs, as they wait, and as tables. Where training may end early nobody
    /// knows how many there will be.
    fn history(&self) -> (usize, usize, usize) {
        let Configuration { spec, network, dataset, iterations, .. } = self.configuration;
        let rows = if spec.train.early_stop.is_some() { 0 } else { iterations.div_ceil(spec.train.record_every) };
        let metrics = spec.train.metrics.len();
        let validated = dataset.parts().iter().any(|(part, _)| *part == Part::Validation);
        let watched = if spec.train.watch { Watched::new(network).names().len() } else { 0 };
        let list = |numbers: usize| if numbers > 0 { 16 + 8 * numbers } else { 0 };
        let columns = metrics + watched + usize::from(validated) + usize::from(spec.optimizer.schedule.is_some());
        let row = 80 + list(metrics) + list(watched);
        let [first, other] = ROW;
        (product(&[rows, row]), product(&[rows, 16 + 8 * columns]), product(&[rows, first + other * columns]))
    }
}

/// Where parameters, signals, data and the history are asked for.
fn places(spec: &Spec, largest: Option<usize>) -> [Option<Span>; 4] {
    let layer = largest.and_then(|i| spec.layers.get(i)).map(|layer| &layer.component);
    let layer = layer.map(|layer| layer.at("size"));
    let data = |key: &str| Some(spec.data.component.at(key));
    let train = spec.resolved.get("train").and_then(Node::as_table);
    let length = train.and_then(|train| train.get("iterations").or(train.get("epochs"))).map(|node| node.span);
    [layer, data("steps"), data("samples"), length]
}
