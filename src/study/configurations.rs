//! All configurations of a study.
//!
//! A plan builds each of them once, to check it, and keeps what tells it from others; a worker that comes to its trials
//! builds it again. So a study may have very many. What they read is read once, whoever builds them.

use super::check::check_parts;
use super::configuration::{Configuration, Reads, Surroundings};
use super::identity::{self, Used};
use super::measured::Measured;
use super::memory::Estimate;
use super::rule::fresh;
use super::runs::{Executor, Runs};
use crate::registry::Registry;
use crate::search::sampler::Point;
use crate::spec::Spec;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::print::value_toml;
use crate::spec::source::{Sources, Span};
use crate::spec::sweep::Sweep;
use crate::store::ranking::described;
use crate::tensor::DeviceName;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// A configuration that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationPlan {
    /// Its id.
    pub id: String,
    /// Each dimension of the sweep with its value as TOML.
    pub params: Vec<(String, String)>,
    /// Updates of a trial.
    pub iterations: usize,
    /// What runs its neurons.
    pub executor: Executor,
    /// Numbers in the parameters of its network.
    pub parameters: usize,
}

/// Trials that a study may have.
const MOST_TRIALS: usize = 10_000_000;

/// Refuses a study that no machine could list, before memory is asked for.
fn within_limits(spec: &Spec, configurations: usize) -> Result<(), Diagnostics> {
    let seeds = spec.seeds.len().saturating_add(fresh(spec));
    let trials = configurations.saturating_mul(seeds);
    if trials <= MOST_TRIALS {
        return Ok(());
    }
    let text =
        format!("{configurations} configurations times {seeds} seeds are {trials} trials; at most {MOST_TRIALS}");
    let problem = Problem::Conflict(text);
    Err(Diagnostics {
        list: vec![match &spec.sweep {
            Some(sweep) => Diagnostic::new(problem, sweep.span),
            None => Diagnostic::without_place(problem),
        }],
    })
}

/// All configurations of a study.
pub struct Configurations {
    /// These, one without a sweep.
    pub list: Vec<ConfigurationPlan>,
    /// The first of them.
    pub first: Arc<Configuration>,
    /// What the one of them holds in memory that holds most.
    pub largest: Estimate,
    /// What the reader should know of them, each once.
    pub notes: Vec<String>,
    /// Every component that one of them names.
    pub used: Used,
    /// The datasets among these, each with the place that names it first.
    pub datasets: Vec<(String, Span)>,
    /// The value of each dimension in each of them; empty without a sweep.
    points: Vec<Point>,
    /// Place of each by its id.
    places: HashMap<String, usize>,
    read: Reads,
}

/// What is kept of a configuration that was built and checked.
struct Checked {
    planned: ConfigurationPlan,
    notes: Vec<String>,
    used: Used,
    dataset: (String, Span),
    quantities: Vec<Measured>,
    estimate: Estimate,
    /// All of it, of the first alone.
    whole: Option<Configuration>,
}

impl Checked {
    fn new(
        configuration: Configuration,
        params: Vec<(String, String)>,
        keep: bool,
        Surroundings { registry, runs, .. }: Surroundings<'_>,
    ) -> Result<Checked, Diagnostics> {
        let estimate = Estimate::new(&configuration);
        if runs.device == DeviceName::Cpu
            && let Some(refused) = estimate.check(1, 1)
        {
            return Err(Diagnostics { list: vec![refused] });
        }
        let spec = &configuration.spec;
        let used = identity::used(spec, registry);
        let runs = Runs { executor: configuration.executor, ..runs };
        let id = identity::configuration(spec, configuration.content(), &used, registry, runs);
        let at = spec.data.component.at("kind");
        Ok(Checked {
            planned: ConfigurationPlan {
                id,
                params,
                iterations: configuration.iterations,
                executor: configuration.executor,
                parameters: configuration.network.size(),
            },
            notes: spec.notes.clone(),
            used,
            dataset: (spec.data.component.kind.clone(), at),
            quantities: configuration.quantities(),
            estimate,
            whole: keep.then_some(configuration),
        })
    }
}

/// Configurations that are built together, so that a mistake that all share ends a long list early.
const PIECE: usize = 1024;

/// Mistakes after which nobody reads on; a large study has as many configurations as one likes.
const MOST_MISTAKES: usize = 50;

impl Configurations {
    /// Builds and checks all configurations of a study. A mistake that several share is reported once.
    ///
    /// # Errors
    /// What is wrong with them, each or together.
    pub fn of(spec: &Spec, registry: &Registry, sources: &Sources, runs: Runs) -> Result<Configurations, Diagnostics> {
        let read = Reads::default();
        let place = Surroundings { registry, sources, runs, read: &read };
        let Some(sweep) = &spec.sweep else {
            within_limits(spec, 1)?;
            let only = Checked::new(Configuration::new(spec.clone(), place)?, Vec::new(), true, place)?;
            let mut gathered = Gathered::default();
            gathered.add(only, spec.data.component.span);
            return gathered.finish(spec, Vec::new(), read);
        };
        let points = registry.sampler(&sweep.sampler).points(sweep).map_err(|one| Diagnostics { list: vec![one] })?;
        // Each of them has all seeds in its own experiment, too.
        within_limits(spec, points.len())?;
        let build = |(i, point): (usize, &Point)| {
            let configuration = Configuration::new(sweep.configuration(point, registry, sources)?, place)?;
            Checked::new(configuration, params(sweep, point), i == 0, place)
        };
        let mut gathered = Gathered::default();
        for (i, piece) in points.chunks(PIECE).enumerate() {
            let numbered = piece.par_iter().enumerate().map(|(j, point)| (i * PIECE + j, point));
            for built in numbered.map(build).collect::<Vec<_>>() {
                match built {
                    Ok(checked) => gathered.add(checked, sweep.span),
                    Err(more) => gathered.refuse(more),
                }
            }
            if gathered.found.list.len() >= MOST_MISTAKES {
                break;
            }
        }
        gathered.finish(spec, points, read)
    }

    /// Builds a configuration again.
    ///
    /// # Errors
    /// None that its check did not find, as long as the registry is the same.
    pub fn build(
        &self,
        place: usize,
        study: &Spec,
        registry: &Registry,
        sources: &Sources,
        runs: Runs,
    ) -> Result<Arc<Configuration>, Diagnostics> {
        match (&study.sweep, self.points.get(place)) {
            (Some(sweep), Some(point)) if place > 0 => {
                let surroundings = Surroundings { registry, sources, runs, read: &self.read };
                Configuration::new(sweep.configuration(point, registry, sources)?, surroundings).map(Arc::new)
            }
            _ => Ok(self.first.clone()),
        }
    }

    /// The place of a configuration in the list.
    pub fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }
}

/// Each dimension of a sweep with its value as TOML.
fn params(sweep: &Sweep, point: &Point) -> Vec<(String, String)> {
    let names = sweep.dimensions.iter().map(|dimension| dimension.name.clone());
    names.zip(point.iter().map(value_toml)).collect()
}

/// Configurations as they come, in their order.
#[derive(Default)]
struct Gathered {
    list: Vec<ConfigurationPlan>,
    first: Option<Configuration>,
    largest: Option<Estimate>,
    notes: Vec<String>,
    used: Used,
    datasets: Vec<(String, Span)>,
    places: HashMap<String, usize>,
    /// Columns of results, and the first dataset that leads to others.
    quantities: Option<Vec<Measured>>,
    differs: Option<Span>,
    found: Diagnostics,
}

impl Gathered {
    fn add(&mut self, checked: Checked, sweep: Span) {
        let Checked { planned, notes, used, dataset, quantities, estimate, whole } = checked;
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        if let Some(first) = self.places.insert(planned.id.clone(), self.list.len()) {
            let both = [&self.list[first], &planned].map(|configuration| described(&configuration.params));
            let text = format!("`{}` and `{}` are the same experiment", both[0], both[1]);
            self.found.push(Diagnostic::new(Problem::Conflict(text), sweep));
        }
        if *self.quantities.get_or_insert_with(|| quantities.clone()) != quantities {
            self.differs = self.differs.or(Some(dataset.1));
        }
        if !self.datasets.iter().any(|(kind, _)| *kind == dataset.0) {
            self.datasets.push(dataset);
        }
        self.used.extend(used);
        self.first = self.first.take().or(whole);
        self.largest = Some(estimate.larger(self.largest.take()));
        self.list.push(planned);
    }

    fn refuse(&mut self, more: Diagnostics) {
        for one in more.list {
            let said = one.problem.to_string();
            let old = |old: &Diagnostic| old.span == one.span && old.problem.to_string() == said;
            if !self.found.list.iter().any(old) {
                self.found.push(one);
            }
        }
    }

    fn finish(self, study: &Spec, points: Vec<Point>, read: Reads) -> Result<Configurations, Diagnostics> {
        let Gathered { list, notes, used, datasets, places, found, .. } = self;
        let Some((first, largest)) = self.first.zip(self.largest).filter(|_| found.is_empty()) else {
            return Err(found);
        };
        check_parts(&first.quantities(), self.differs, study)?;
        Ok(Configurations { list, first: Arc::new(first), largest, notes, used, datasets, points, places, read })
    }
}
