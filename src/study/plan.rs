//! The plan: trials with their ids, the network and the data they share. It is made, and checked, before anything is
//! computed.

use super::check::{check_early_stop, check_parts, check_shapes, check_sizes, generator};
use super::identity::{self, Runs};
use super::rule::{Deciding, Rule, rule};
use super::weights::{self, StoredWeights};
use crate::data::DataShape;
use crate::data::prepared::Prepared;
use crate::data::split::Part;
use crate::nn::NetworkPlan;
use crate::nn::network::{Kinds, plan as plan_network};
use crate::registry::Registry;
use crate::spec::component::{Components, Info, Kind, Origin};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::print::{Formulas, toml, value_toml};
use crate::spec::source::{Sources, Span};
use crate::spec::sweep::Sweep;
use crate::spec::tree::{Node, Value};
use crate::spec::{Length, Spec};
use crate::store::ranking::described;
use crate::tensor::DeviceName;
use crate::train::draws::Generator;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

/// What runs the neurons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// dfdx operations, one after the other, on any device.
    Reference,
    /// Whole passes over time, on the processor.
    Fused,
}

impl Executor {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Executor::Reference => "reference",
            Executor::Fused => "fused",
        }
    }
}

/// A trial that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialPlan {
    /// Its id.
    pub id: String,
    /// Its seed.
    pub seed: u64,
    /// Its configuration, an index into [`Plan::configurations`].
    pub configuration: usize,
}

/// What the trials of all seeds share.
pub struct Configuration {
    /// Its id.
    pub id: String,
    /// Each dimension of the sweep with its value as TOML.
    pub params: Vec<(String, String)>,
    /// The experiment.
    pub spec: Spec,
    /// The network of every trial.
    pub network: NetworkPlan,
    /// The dataset and its split.
    pub dataset: Prepared,
    /// Its shape.
    pub data: DataShape,
    /// Where random numbers come from.
    pub generator: Generator,
    /// Updates of a trial.
    pub iterations: usize,
    /// Parameters to begin with, in place of drawn ones.
    pub weights: Option<StoredWeights>,
}

/// A column of results beside the loss: a metric, or with a split the loss or a metric of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The part that it is measured on, where there are several.
    pub part: Option<Part>,
    /// The metric; none for the loss.
    pub metric: Option<String>,
}

impl Measured {
    /// Its name in tables.
    pub fn name(&self) -> String {
        let what = self.metric.as_deref().unwrap_or("loss");
        self.part.map_or(what.into(), |part| format!("{}.{what}", part.as_str()))
    }
}

/// All that a study runs.
pub struct Plan {
    /// The study: the experiment before anything is swept.
    pub spec: Spec,
    /// What runs the neurons.
    pub executor: Executor,
    /// What it runs on.
    pub device: DeviceName,
    /// What the trials of the folder share.
    pub identity: String,
    /// Digest of what was asked for, if it tells which trials these are.
    pub request: Option<String>,
    /// A digest of what the dataset reads, before anything is swept.
    pub content: Option<String>,
    /// Names of the dimensions that are swept.
    pub swept: Vec<String>,
    /// The configurations, one without a sweep.
    pub configurations: Vec<Configuration>,
    /// Every trial that there may be: configurations in their order, each on the file's seeds in theirs, then on fresh
    /// ones. Which of them are run the [`super::Schedule`] says.
    pub trials: Vec<TrialPlan>,
    /// On how many of its seeds a configuration is run.
    pub rule: Rule,
    /// What ranks configurations.
    pub objective: Deciding,
    /// Place of each configuration by its id.
    places: HashMap<String, usize>,
}

impl Plan {
    /// Plans a checked experiment.
    pub fn new(
        spec: Spec,
        registry: &Registry,
        sources: &Sources,
        executor: Executor,
        device: DeviceName,
    ) -> Result<Plan, Diagnostics> {
        let runs = Runs { executor: executor.as_str(), device: device.as_str() };
        let content = content_of(&spec, registry, sources)?;
        let request = identity::request(&spec, content.clone(), registry, runs);
        let identity = identity::study(&spec, content.clone(), registry, runs);
        let place = Surroundings { registry, sources, runs };
        let configurations = match &spec.sweep {
            None => vec![Configuration::new(spec.clone(), Vec::new(), place)?],
            Some(sweep) => configurations(sweep, place)?,
        };
        check_parts(&configurations, &spec)?;
        let (rule, objective) = rule(&spec, &configurations, registry)?;
        let seeds: Vec<u64> = spec.seeds.iter().copied().chain(fresh_seeds(&spec)).collect();
        let trials = configurations.iter().enumerate().flat_map(|(i, configuration)| {
            let trial =
                move |&seed: &u64| TrialPlan { id: identity::trial(&configuration.id, seed), seed, configuration: i };
            seeds.iter().map(trial)
        });
        let dimensions = spec.sweep.iter().flat_map(|sweep| &sweep.dimensions);
        Ok(Plan {
            executor,
            device,
            identity,
            request,
            content,
            swept: dimensions.map(|dimension| dimension.name.clone()).collect(),
            trials: trials.collect(),
            rule,
            objective,
            places: configurations.iter().enumerate().map(|(i, c)| (c.id.clone(), i)).collect(),
            configurations,
            spec,
        })
    }

    /// Columns of results beside the loss, in their order.
    pub fn quantities(&self) -> Vec<Measured> {
        self.configurations.first().map_or(Vec::new(), Configuration::quantities)
    }

    /// Names of the columns of the history beside the loss.
    pub fn recorded(&self) -> Vec<String> {
        let of_training =
            |quantity: &Measured| quantity.metric.is_some() && quantity.part.is_none_or(|part| part == Part::Train);
        self.quantities().iter().filter(|quantity| of_training(quantity)).map(Measured::name).collect()
    }

    /// Trials that a configuration may have.
    pub fn per_configuration(&self) -> usize {
        self.spec.seeds.len() + fresh(&self.spec)
    }

    /// The places of fresh seeds among those of a configuration.
    pub fn fresh(&self) -> Range<usize> {
        self.spec.seeds.len()..self.per_configuration()
    }

    /// Seeds on which every configuration is run, whatever the results are.
    pub fn sure_seeds(&self) -> usize {
        match &self.rule {
            Rule::Fixed => self.spec.seeds.len(),
            Rule::Until(sampling, _) => sampling.precision.min,
            Rule::Race(_, contest) => contest.looks.first().copied().unwrap_or(0),
        }
    }

    /// The configuration of a trial.
    pub fn configuration(&self, trial: &TrialPlan) -> &Configuration {
        &self.configurations[trial.configuration]
    }

    /// The place of a trial's row: configurations of this plan first, in their order, then seeds.
    pub fn rank(&self, configuration: &str, seed: u64) -> (usize, u64) {
        (self.places.get(configuration).copied().unwrap_or(usize::MAX), seed)
    }

    /// The programs that the trials would start, each with the place that names it.
    pub fn programs<'a>(&self, registry: &'a Registry) -> Vec<(&'a Info, Span)> {
        let mut list: Vec<(&Info, Span)> = Vec::new();
        for spec in self.configurations.iter().map(|configuration| &configuration.spec) {
            let metrics = spec.train.metrics.iter().map(|metric| (Kind::Metric, metric));
            for (kind, component) in std::iter::once((Kind::Dataset, &spec.data)).chain(metrics) {
                let Some(info) = registry.info(kind, &component.kind) else { continue };
                let at = component.args.get("kind").map_or(component.span, |node| node.span);
                let known = list.iter().any(|(other, _)| std::ptr::eq(*other, info));
                if matches!(info.origin, Origin::Program { .. }) && !known {
                    list.push((info, at));
                }
            }
        }
        list
    }

    /// Updates of all trials together, where each has its own number.
    pub fn iterations(&self, trials: &[&TrialPlan]) -> u64 {
        trials.iter().map(|trial| self.configuration(trial).iterations as u64).sum()
    }

    /// The resolved study as TOML: defaults written out, formulas and sweep kept.
    pub fn study_toml(&self) -> String {
        toml(&self.spec.resolved, Formulas::Kept)
    }

    /// A trial as TOML: formulas computed, its own values and its seed alone.
    pub fn trial_toml(&self, trial: &TrialPlan) -> String {
        let mut table = self.configuration(trial).spec.resolved.clone();
        table.remove("let");
        if let Some(Value::Table(run)) = table.get_mut("run").map(|node| &mut node.value) {
            let at = Span { source: 0, start: 0, end: 0 };
            let seed = Node::new(Value::Int(trial.seed as i64), at);
            run.put("seeds", Node::new(Value::Array(vec![seed]), at));
        }
        toml(&table, Formulas::Computed)
    }
}

/// Seeds on which the best configuration is run again.
fn fresh(spec: &Spec) -> usize {
    spec.sweep.as_ref().map_or(0, |sweep| sweep.fresh)
}

/// They follow the largest of the others.
fn fresh_seeds(spec: &Spec) -> Range<u64> {
    let first = spec.seeds.iter().max().map_or(0, |last| last.saturating_add(1));
    first..first.saturating_add(fresh(spec) as u64)
}

/// What a configuration is built from beside its spec.
#[derive(Clone, Copy)]
struct Surroundings<'a> {
    registry: &'a Registry,
    sources: &'a Sources,
    runs: Runs,
}

/// The configurations that a sweep's sampler chooses. A mistake that several share is reported once.
fn configurations(sweep: &Sweep, place: Surroundings<'_>) -> Result<Vec<Configuration>, Diagnostics> {
    let Surroundings { registry, sources, .. } = place;
    let points = registry.sampler(&sweep.sampler).points(sweep).map_err(|one| Diagnostics { list: vec![one] })?;
    let mut found = Diagnostics::default();
    let mut list: Vec<Configuration> = Vec::new();
    let mut seen = HashMap::new();
    let build = |point: &Vec<Node>| {
        let names_of = sweep.dimensions.iter().map(|dimension| dimension.name.clone());
        let params: Vec<(String, String)> = names_of.zip(point.iter().map(value_toml)).collect();
        sweep.configuration(point, registry, sources).and_then(|spec| Configuration::new(spec, params, place))
    };
    // Pieces of the list, so that a mistake that all share ends it early.
    for built in points.chunks(1024).flat_map(|piece| piece.par_iter().map(build).collect::<Vec<_>>()) {
        match built {
            Ok(configuration) => {
                if let Some(first) = seen.insert(configuration.id.clone(), list.len()) {
                    let both = [&list[first], &configuration].map(|c| described(&c.params));
                    let text = format!("`{}` and `{}` are the same experiment", both[0], both[1]);
                    found.push(Diagnostic::new(Problem::Conflict(text), sweep.span));
                }
                list.push(configuration);
            }
            Err(more) => {
                let new = |one: &Diagnostic| {
                    let said = one.problem.to_string();
                    !found.list.iter().any(|old| old.span == one.span && old.problem.to_string() == said)
                };
                let more: Vec<Diagnostic> = more.list.into_iter().filter(new).collect();
                found.list.extend(more);
            }
        }
        // Nobody reads more mistakes than these, and a large study has as many configurations as one likes.
        if found.list.len() >= 50 {
            break;
        }
    }
    if found.is_empty() { Ok(list) } else { Err(found) }
}

impl Configuration {
    fn new(
        spec: Spec,
        params: Vec<(String, String)>,
        Surroundings { registry, sources, runs }: Surroundings<'_>,
    ) -> Result<Configuration, Diagnostics> {
        let mut found = Diagnostics::default();
        let dataset = Prepared::new(registry.dataset(&spec.data, sources)?, &spec.data)?;
        let data = dataset.shape();
        let layers = spec.layers.iter().map(|layer| registry.layer_kind(&layer.component.kind)).collect();
        let kinds = Kinds { layers, surrogates: registry };
        let network = plan_network(&spec.layers, &kinds, data.inputs.len(), registry);
        check_sizes(&spec, &network, &data, &mut found);
        check_shapes(&spec, &network, &data, &mut found);
        let generator = generator(&spec, &network, &mut found);
        check_early_stop(&spec, &dataset, &mut found);
        let stored = spec
            .init_weights
            .as_ref()
            .map(|node| weights::read(&weights_path(node, sources), &network, Some(node.span)));
        let stored = match stored {
            Some(Err(more)) => {
                found.list.extend(more.list);
                None
            }
            Some(Ok(stored)) => Some(stored),
            None => None,
        };
        if !found.is_empty() {
            return Err(found);
        }
        Ok(Configuration {
            id: {
                let content = content(dataset.content(), stored.as_ref().map(|stored| stored.digest.clone()));
                identity::configuration(&spec, content, registry, runs)
            },
            params,
            iterations: match spec.train.length {
                Length::Iterations(n) => n,
                Length::Epochs(n) => n * dataset.trained_on().div_ceil(spec.train.batch),
            },
            network,
            dataset,
            data,
            generator,
            weights: stored,
            spec,
        })
    }

    /// A configuration that belongs to no study, on the processor.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn alone(
        spec: Spec,
        registry: &Registry,
        sources: &Sources,
        executor: Executor,
    ) -> Result<Configuration, Diagnostics> {
        let runs = Runs { executor: executor.as_str(), device: DeviceName::Cpu.as_str() };
        Configuration::new(spec, Vec::new(), Surroundings { registry, sources, runs })
    }

    /// Columns of results beside the loss, in their order.
    pub fn quantities(&self) -> Vec<Measured> {
        let metrics = |part: Option<Part>| {
            self.spec.train.metrics.iter().map(move |metric| Measured { part, metric: Some(metric.kind.clone()) })
        };
        let parts = self.dataset.parts();
        if parts.is_empty() {
            return metrics(None).collect();
        }
        let of = |(part, _): &(Part, usize)| {
            let loss = (*part == Part::Validation).then_some(Measured { part: Some(*part), metric: None });
            metrics(Some(*part)).chain(loss).collect::<Vec<_>>()
        };
        parts.iter().flat_map(of).collect()
    }
}

/// Where the file of `[init] weights` lies.
fn weights_path(node: &Node, sources: &Sources) -> PathBuf {
    sources.folder(node.span).join(node.as_text().unwrap_or(""))
}

/// The digest of what a study reads beside the experiment, before anything is swept.
///
/// # Errors
/// Where its dataset cannot be read.
pub fn content_of(spec: &Spec, registry: &Registry, sources: &Sources) -> Result<Option<String>, Diagnostics> {
    let dataset = registry.dataset(&spec.data, sources)?;
    // Weights that cannot be read are reported with the configuration that begins with them.
    let weights = spec.init_weights.as_ref().and_then(|node| std::fs::read(weights_path(node, sources)).ok());
    Ok(content(dataset.content(), weights.map(|bytes| blake3::hash(&bytes).to_hex().to_string())))
}

/// Digests of what is read beside the experiment, as one.
fn content(data: Option<String>, weights: Option<String>) -> Option<String> {
    match (data, weights) {
        (data, None) => data,
        (data, Some(weights)) => Some(format!("{}, weights {weights}", data.unwrap_or_default())),
    }
}
