//! The plan: trials with their ids, the network and the data they share. It is made, and checked, before anything is
//! computed.

use super::configuration::{Configuration, content_of};
use super::configurations::{ConfigurationPlan, Configurations};
use super::identity;
use super::measured::Measured;
use super::rule::{Deciding, SeedRule, fresh, fresh_seeds, rule};
use super::runs::{Executor, Runs};
use crate::data::split::Part;
use crate::registry::Registry;
use crate::spec::Spec;
use crate::spec::component::{Components, Info, Kind, Origin};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::print::{FormulaStyle, toml, without_default_per, without_defaults};
use crate::spec::source::{Sources, Span, path_of, text_of};
use crate::spec::tree::{Node, Table, Value};
use crate::store::Columns;
use crate::store::weighed::trial_id;
use crate::tensor::DeviceName;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A trial that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialPlan {
    /// Its id.
    pub id: String,
    /// Its seed.
    pub seed: u64,
    /// Its configuration, an index into [`Configurations::list`].
    pub configuration: usize,
}

/// All that a study runs.
pub struct Plan {
    /// The study: the experiment before anything is swept.
    pub spec: Spec,
    /// What was asked for to run the neurons; what runs those of a configuration it says itself.
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
    pub configurations: Configurations,
    /// Every trial that there may be: configurations in their order, each on the file's seeds in theirs, then on fresh
    /// ones. Which of them are run the [`super::Schedule`] says.
    pub trials: Vec<TrialPlan>,
    /// On how many of its seeds a configuration is run.
    pub rule: SeedRule,
    /// What ranks configurations.
    pub objective: Deciding,
    /// The texts of the experiment.
    sources: Sources,
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
        let runs = Runs { executor, device };
        let content = content_of(&spec, registry, sources)?;
        let request = identity::request(&spec, content.clone(), registry, runs);
        let identity = identity::study(&spec, content.clone(), registry, runs);
        let mut configurations = Configurations::of(&spec, registry, sources, runs)?;
        let measured = configurations.first.quantities();
        let (rule, objective) = rule(&spec, &measured, configurations.list.len(), registry)?;
        if spec.sweep.is_some() {
            configurations.notes.extend(objective.misdirected());
        }
        let seeds: Vec<u64> = seeds(&spec).collect();
        let trials = configurations.list.iter().enumerate().flat_map(|(i, configuration)| {
            let trial = move |&seed: &u64| TrialPlan { id: trial_id(&configuration.id, seed), seed, configuration: i };
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
            configurations,
            sources: sources.clone(),
            spec,
        })
    }

    /// All seeds that a configuration may be run on.
    pub fn seeds(&self) -> impl Iterator<Item = u64> + '_ {
        seeds(&self.spec)
    }

    /// Columns of results beside the loss, in their order.
    pub fn quantities(&self) -> Vec<Measured> {
        self.configurations.first.quantities()
    }

    /// Names of the columns of the history beside the loss.
    pub fn recorded(&self) -> Vec<String> {
        let of_training =
            |quantity: &Measured| quantity.metric.is_some() && quantity.part.is_none_or(|part| part == Part::Train);
        self.quantities().iter().filter(|quantity| of_training(quantity)).map(Measured::name).collect()
    }

    /// The columns that this study gives its tables.
    pub fn columns(&self) -> Columns {
        let metrics = self.quantities().iter().map(Measured::name).collect();
        Columns { metrics, recorded: self.recorded(), swept: self.swept.clone() }
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
            SeedRule::Fixed => self.spec.seeds.len(),
            SeedRule::Until(sampling, _) => sampling.precision.min,
            SeedRule::Race(_, contest) => contest.looks.first().copied().unwrap_or(0),
        }
    }

    /// The configuration of a trial.
    pub fn configuration(&self, trial: &TrialPlan) -> &ConfigurationPlan {
        &self.configurations.list[trial.configuration]
    }

    /// What runs the neurons of its configurations, in words.
    pub fn ran_by(&self) -> String {
        let executors: BTreeSet<&str> = self.configurations.list.iter().map(|one| one.executor.as_str()).collect();
        executors.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Builds the configuration of a trial.
    ///
    /// # Errors
    /// As [`Configurations::build`].
    pub fn build(&self, trial: &TrialPlan, registry: &Registry) -> Result<Arc<Configuration>, Diagnostics> {
        let runs = Runs { executor: self.executor, device: self.device };
        self.configurations.build(trial.configuration, &self.spec, registry, &self.sources, runs)
    }

    /// The place of a trial's row: configurations of this plan first, in their order, then seeds.
    pub fn rank(&self, configuration: &str, seed: u64) -> (usize, u64) {
        (self.configurations.place(configuration).unwrap_or(usize::MAX), seed)
    }

    /// Refuses a study that takes more than the machine has, with so many workers. On another device nobody counts.
    ///
    /// # Errors
    /// The numbers, and what other settings would make of them.
    pub fn fits(&self, jobs: usize) -> Result<(), Diagnostics> {
        if self.device != DeviceName::Cpu {
            return Ok(());
        }
        let trials = self.configurations.list.len().saturating_mul(self.sure_seeds());
        match self.configurations.largest.check(jobs, trials) {
            Some(refused) => Err(Diagnostics { list: vec![refused] }),
            None => Ok(()),
        }
    }

    /// The programs that the trials would start, each with the place that names it.
    pub fn programs<'a>(&self, registry: &'a Registry) -> Vec<(&'a Info, Span)> {
        let metrics = self.spec.train.metrics.iter().map(|metric| {
            let at = metric.at("kind");
            (Kind::Metric, &metric.kind, at)
        });
        let datasets = self.configurations.datasets.iter().map(|(name, at)| (Kind::Dataset, name, *at));
        let mut list: Vec<(&Info, Span)> = Vec::new();
        for (kind, name, at) in datasets.chain(metrics) {
            let Some(info) = registry.info(kind, name) else { continue };
            let known = list.iter().any(|(other, _)| std::ptr::eq(*other, info));
            if matches!(info.origin, Origin::Program { .. }) && !known {
                list.push((info, at));
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
        toml(&self.spec_table(), FormulaStyle::Kept)
    }

    /// The files that a configuration of this study reads, by the keys that name them.
    pub fn files(&self, spec: &Spec, registry: &Registry) -> Vec<(String, PathBuf)> {
        let file = |place: String| {
            let (section, key) = place.split_once('.')?;
            let node = spec.resolved.get(section)?.as_table()?.get(key)?;
            let path = self.sources.folder(node.span).join(node.as_text()?);
            Some((place, path))
        };
        identity::places(&spec.data.component.kind, registry).into_iter().filter_map(file).collect()
    }

    /// The resolved study; without the defaults of components where it varies their kinds, and of parameters where it lays
    /// others over them.
    fn spec_table(&self) -> Table {
        let mut table = self.spec.resolved.clone();
        if self.spec.sweep.as_ref().is_some_and(|sweep| sweep.changes_kinds()) {
            without_defaults(&mut table);
        }
        if self.spec.sweep.as_ref().is_some_and(|sweep| sweep.lays_tables()) {
            without_default_per(&mut table);
        }
        table
    }

    /// The same as it is kept apart from the files that it was read from: a path that is relative to another folder than
    /// that of `file` is made absolute.
    pub fn stored_toml(&self, file: &Path, registry: &Registry) -> String {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let home = absolute(file.parent().unwrap_or(Path::new("")));
        let mut rebase = |node: &mut Node| {
            let folder = self.sources.folder(node.span);
            if let (Some(path), None) = (node.as_text(), &node.formula)
                && absolute(&folder) != home
            {
                node.value = Value::Text(text_of(&absolute(&folder.join(path_of(path)))));
            }
        };
        let mut table = self.spec_table();
        let kinds = self.configurations.datasets.iter().map(|(kind, _)| kind);
        let places: BTreeSet<String> = kinds.flat_map(|kind| identity::places(kind, registry)).collect();
        for place in &places {
            each_at(&mut table, place, &mut rebase);
            let Some(Value::Table(sweep)) = table.get_mut("sweep").map(|node| &mut node.value) else { continue };
            if let Some(Value::Table(over)) = sweep.get_mut("over").map(|node| &mut node.value)
                && let Some(Value::Array(values)) = over.get_mut(place).map(|node| &mut node.value)
            {
                values.iter_mut().for_each(&mut rebase);
            }
            if let Some(Value::Table(variants)) = sweep.get_mut("variants").map(|node| &mut node.value) {
                for variant in &mut variants.entries {
                    if let Value::Table(patch) = &mut variant.node.value {
                        each_at(patch, place, &mut rebase);
                    }
                }
            }
        }
        toml(&table, FormulaStyle::Kept)
    }

    /// A trial as TOML: formulas computed, its own values and its seed alone.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn trial_toml(&self, trial: &TrialPlan, registry: &Registry) -> Result<String, Diagnostics> {
        let mut table = self.build(trial, registry)?.spec.resolved.clone();
        table.remove("let");
        if let Some(Value::Table(run)) = table.get_mut("run").map(|node| &mut node.value) {
            let at = Span::NONE;
            let seed = Node::new(Value::Int(trial.seed as i64), at);
            run.put("seeds", Node::new(Value::Array(vec![seed]), at));
        }
        Ok(toml(&table, FormulaStyle::Computed))
    }
}

/// Changes the value at a path of two keys, if there is one.
fn each_at(table: &mut Table, path: &str, change: &mut dyn FnMut(&mut Node)) {
    let (section, key) = path.split_once('.').unwrap_or((path, ""));
    if let Some(Value::Table(section)) = table.get_mut(section).map(|node| &mut node.value)
        && let Some(node) = section.get_mut(key)
    {
        change(node);
    }
}

/// The seeds of a study, then the fresh ones.
fn seeds(spec: &Spec) -> impl Iterator<Item = u64> + '_ {
    spec.seeds.iter().copied().chain(fresh_seeds(spec))
}
