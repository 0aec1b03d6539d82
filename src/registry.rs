//! The registry: name to component, with the documentation and keys of each. Nowhere else are names matched.
//!
//! What registers here (`additions`), whether it is built in (`builtin`), of another crate, or a text of a `plugins/`
//! folder (`text`), shows in `runner list` and `show`, in the schema, and in suggestions.

mod additions;
mod builtin;
mod text;

pub use additions::{Adding, Additions, Crate};

use crate::data::{Dataset, Reading};
use crate::formula::Expr;
use crate::neuron::Surrogate;
use crate::nn::Initialiser;
use crate::nn::layer::{AnyLayer, Layer, Lookup};
use crate::program::{Cache, Program, ProgramError};
use crate::search::pruner::Pruner;
use crate::search::sampler::Sampler;
use crate::spec::component::{Broken, Components, Info, Kind, Origin};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::key::Keys;
use crate::spec::source::{Sources, Span, text_of};
use crate::spec::tree::Table;
use crate::spec::{Component, DataSpec};
use crate::tensor::Backend;
use crate::train::loss::DirectLoss;
use crate::train::optimizer::{Rule, RuleOptimizer};
use crate::train::rate::RateSchedule;
use crate::train::{Loss, Metric, Optimizer};
use dfdx::prelude::Cpu;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A component with what is known of it.
pub struct Registered<B> {
    /// What is shown and checked.
    pub info: Info,
    /// What makes one.
    pub build: B,
}

/// Components of one kind by name.
pub type Catalog<B> = BTreeMap<String, Registered<B>>;

/// Makes a dataset from its checked keys; paths among them are relative to the file that they stand in.
///
/// # Errors
/// Where what the keys name cannot be read, underlined in the experiment.
pub type DatasetBuild = Arc<dyn Fn(&Component, &Reading<'_>) -> Result<Box<dyn Dataset>, Diagnostics> + Send + Sync>;

/// Makes an initialiser from its checked keys; the flag asks for that of a bias.
pub type InitialiserBuild = Box<dyn Fn(&Table, bool) -> Arc<dyn Initialiser> + Send + Sync>;

/// Makes a layer's recipe from its checked keys and what they name.
pub type LayerBuild = Box<dyn Fn(&Table, &dyn Lookup) -> Arc<dyn AnyLayer> + Send + Sync>;

/// Makes a loss from its checked keys.
pub type LossOn<D> = Box<dyn Fn(&Table) -> Box<dyn Loss<D>> + Send + Sync>;

/// Makes the direct form of a loss from its checked keys.
pub type DirectOf = Box<dyn Fn(&Table) -> Box<dyn DirectLoss> + Send + Sync>;

/// A loss on each device.
pub struct LossBuild {
    /// On the processor.
    pub cpu: LossOn<Cpu>,
    /// On a GPU.
    #[cfg(feature = "cuda")]
    pub cuda: LossOn<dfdx::prelude::Cuda>,
    /// With its gradient in one pass, for the fused executor; without it the network runs on the tape.
    pub direct: Option<DirectOf>,
    /// Its unit, in terms of the target's.
    pub unit: String,
}

/// Makes a metric from its checked keys.
pub type MetricOf = Box<dyn Fn(&Table) -> Arc<dyn Metric> + Send + Sync>;

/// A metric.
pub struct MetricBuild {
    /// Makes it from its checked keys.
    pub build: MetricOf,
    /// Its unit, in terms of the target's; `1` for a pure number.
    pub unit: String,
    /// Whether lower is better.
    pub lower_is_better: bool,
}

/// An optimizer: its update rule from checked keys.
pub type OptimizerBuild = Box<dyn Fn(&Table) -> Rule + Send + Sync>;

/// Makes a schedule from its checked keys.
pub type ScheduleBuild = Box<dyn Fn(&Table) -> Arc<dyn RateSchedule> + Send + Sync>;

/// Makes a sampler from its checked keys.
pub type SamplerBuild = Box<dyn Fn(&Table) -> Box<dyn Sampler> + Send + Sync>;

/// Makes a pruner from its checked keys.
pub type PrunerBuild = Box<dyn Fn(&Table) -> Box<dyn Pruner> + Send + Sync>;

/// All components.
#[derive(Default)]
pub struct Registry {
    /// Datasets.
    pub datasets: Catalog<DatasetBuild>,
    /// Layers without neurons.
    pub layers: Catalog<LayerBuild>,
    /// Neurons, each of which is also a layer.
    pub neurons: Catalog<LayerBuild>,
    /// Surrogates.
    pub surrogates: Catalog<Surrogate>,
    /// Losses.
    pub losses: Catalog<LossBuild>,
    /// Metrics.
    pub metrics: Catalog<MetricBuild>,
    /// Optimizers.
    pub optimizers: Catalog<OptimizerBuild>,
    /// Schedules of learning rates.
    pub schedules: Catalog<ScheduleBuild>,
    /// Initialisers.
    pub initialisers: Catalog<InitialiserBuild>,
    /// Samplers.
    pub samplers: Catalog<SamplerBuild>,
    /// Pruners.
    pub pruners: Catalog<PrunerBuild>,
    /// Programs that provide some of these.
    pub programs: Vec<Arc<Program>>,
    /// Files of plugins that cannot be used. What they may mean is refused, also where something else has the name.
    pub broken: Vec<Broken>,
}

/// Columns of tables that a metric would stand beside, and so no name of one.
const COLUMNS: [&str; 16] = [
    "trial",
    "config",
    "data_digest",
    "parameters",
    "executor",
    "seed",
    "status",
    "error",
    "loss",
    "iteration",
    "iterations",
    "lr",
    "started",
    "finished",
    "duration_s",
    "baseline",
];

/// Why a metric cannot have a name, if it cannot.
fn taken_by_tables(name: &str) -> Option<String> {
    COLUMNS.contains(&name).then(|| format!("a metric cannot be called `{name}`: tables have a column of this name"))
}

impl Components for Registry {
    fn info(&self, kind: Kind, name: &str) -> Option<&Info> {
        if self.broken.iter().any(|broken| broken.takes(kind, name)) {
            return None;
        }
        match kind {
            Kind::Dataset => self.datasets.get(name).map(|e| &e.info),
            Kind::Layer => self.layers.get(name).map(|e| &e.info).or_else(|| self.neurons.get(name).map(|e| &e.info)),
            Kind::Neuron => self.neurons.get(name).map(|e| &e.info),
            Kind::Surrogate => self.surrogates.get(name).map(|e| &e.info),
            Kind::Loss => self.losses.get(name).map(|e| &e.info),
            Kind::Metric => self.metrics.get(name).map(|e| &e.info),
            Kind::Optimizer => self.optimizers.get(name).map(|e| &e.info),
            Kind::Schedule => self.schedules.get(name).map(|e| &e.info),
            Kind::Initialiser => self.initialisers.get(name).map(|e| &e.info),
            Kind::Sampler => self.samplers.get(name).map(|e| &e.info),
            Kind::Pruner => self.pruners.get(name).map(|e| &e.info),
        }
    }

    fn names(&self, kind: Kind) -> Vec<&str> {
        let mut names: Vec<&str> = match kind {
            Kind::Dataset => self.datasets.keys().map(String::as_str).collect(),
            Kind::Layer => self.layers.keys().chain(self.neurons.keys()).map(String::as_str).collect(),
            Kind::Neuron => self.neurons.keys().map(String::as_str).collect(),
            Kind::Surrogate => self.surrogates.keys().map(String::as_str).collect(),
            Kind::Loss => self.losses.keys().map(String::as_str).collect(),
            Kind::Metric => self.metrics.keys().map(String::as_str).collect(),
            Kind::Optimizer => self.optimizers.keys().map(String::as_str).collect(),
            Kind::Schedule => self.schedules.keys().map(String::as_str).collect(),
            Kind::Initialiser => self.initialisers.keys().map(String::as_str).collect(),
            Kind::Sampler => self.samplers.keys().map(String::as_str).collect(),
            Kind::Pruner => self.pruners.keys().map(String::as_str).collect(),
        };
        names.retain(|name| !self.broken.iter().any(|broken| broken.takes(kind, name)));
        names.sort_unstable();
        names
    }

    fn broken(&self, kind: Kind, name: &str) -> Vec<&Broken> {
        self.broken.iter().filter(|broken| broken.may_be(kind, name)).collect()
    }
}

/// A component that a checked file names.
///
/// # Panics
/// Where the registry lacks it: then the file was checked against another one.
fn found<'a, B>(catalog: &'a Catalog<B>, name: &str) -> &'a Registered<B> {
    catalog.get(name).unwrap_or_else(|| panic!("`{name}` passed the check, but is not registered"))
}

/// The keys of a component that passed the check.
///
/// # Panics
/// Where the table was checked against other keys.
fn keys<K: Keys>(checked: &Table) -> K {
    passed(K::read(checked))
}

/// What was read from a table that passed the check.
fn passed<T>(read: Option<T>) -> T {
    read.unwrap_or_else(|| panic!("keys passed the check, and are not those of their component"))
}

impl Lookup for Registry {
    fn initialiser(&self, component: &Component, bias: bool) -> Arc<dyn Initialiser> {
        (found(&self.initialisers, &component.kind).build)(&component.args, bias)
    }

    fn surrogate(&self, component: &Component) -> Expr {
        found(&self.surrogates, &component.kind).build.bound(&component.args)
    }
}

impl Registry {
    /// The built-in components and those of some crates.
    ///
    /// # Errors
    /// As [`Registry::builtin`].
    ///
    /// # Panics
    /// Where two components have one name.
    pub fn with(crates: &[Crate], sources: &mut Sources) -> Result<Registry, Diagnostics> {
        let mut registry = Registry::builtin(sources)?;
        for one in crates {
            let origin = Origin::Crate(format!("{} {}", one.name, one.version));
            (one.register)(&mut Additions::new(&mut registry, origin));
        }
        Ok(registry)
    }

    /// Lets programs run; what they give is taken from a cache and kept there, if there is one.
    pub fn allow_programs(&self, cache: Option<Arc<Cache>>) {
        self.programs.iter().for_each(|program| program.allow(cache.clone()));
    }

    /// The built-in components, those of crates, and the text plugins that lie beside experiment files, in the working
    /// directory, and in some folders.
    ///
    /// # Errors
    /// Where a folder is not there, or a built-in text cannot be read.
    pub fn beside(
        crates: &[Crate],
        files: &[&Path],
        folders: &[PathBuf],
        sources: &mut Sources,
    ) -> Result<Registry, Diagnostics> {
        if let Some(folder) = folders.iter().find(|folder| !folder.is_dir()) {
            let problem = Problem::Conflict(format!("there is no folder `{}` of plugins", text_of(folder)));
            let help = "`--plugins DIR` names a folder; one beside the experiment need not be named".to_string();
            return Err(Diagnostics { list: vec![Diagnostic::without_place(problem).help(help)] });
        }
        let mut registry = Registry::with(crates, sources)?;
        let mut looked: Vec<PathBuf> = Vec::new();
        let beside = files.iter().map(|file| file.parent().unwrap_or(Path::new("")).join("plugins"));
        for folder in beside.chain([PathBuf::from("plugins")]).chain(folders.iter().cloned()) {
            let same = |other: &PathBuf| match (other.canonicalize(), folder.canonicalize()) {
                (Ok(a), Ok(b)) => a == b,
                _ => *other == folder,
            };
            if !looked.iter().any(same) {
                looked.push(folder);
            }
        }
        looked.iter().for_each(|folder| registry.add_folder(folder, sources));
        Ok(registry)
    }

    /// Why each plugin that cannot be used cannot, in words.
    pub fn unusable(&self, sources: &Sources) -> Vec<String> {
        let said = |broken: &Broken| {
            let first = broken.list.first()?;
            let line = |span: Span| 1 + sources.get(span).text[..span.start].matches('\n').count();
            let place = first.span.map_or(String::new(), |span| format!("{}, line {}: ", broken.file, line(span)));
            let (problem, name) = (first.problem.to_string(), &broken.name);
            let problem = problem.lines().next().unwrap_or_default();
            Some(format!("{place}{problem}; what names `{name}` cannot be run until this is mended"))
        };
        self.broken.iter().filter_map(said).collect()
    }

    /// Ends the programs that run; gives what they did wrong at their end.
    pub fn stop_programs(&self) -> Vec<ProgramError> {
        self.programs.iter().filter_map(|program| program.stop()).collect()
    }

    /// The dataset of a checked table.
    ///
    /// # Errors
    /// As [`DatasetBuild`].
    pub fn dataset(&self, data: &DataSpec, sources: &Sources) -> Result<Box<dyn Dataset>, Diagnostics> {
        let build = &found(&self.datasets, &data.component.kind).build;
        build(&data.component, &Reading::of(data, sources))
    }

    /// The recipe of a layer.
    pub fn layer(&self, component: &Component) -> Arc<dyn AnyLayer> {
        let entry = self.layers.get(&component.kind).unwrap_or_else(|| found(&self.neurons, &component.kind));
        (entry.build)(&component.args, self)
    }

    /// The metric of a checked table.
    pub fn metric(&self, component: &Component) -> Arc<dyn Metric> {
        (found(&self.metrics, &component.kind).build.build)(&component.args)
    }

    /// A loss.
    pub fn loss(&self, name: &str) -> &Registered<LossBuild> {
        found(&self.losses, name)
    }

    /// The direct form of the loss of a checked table, if it has one.
    pub fn direct_loss(&self, component: &Component) -> Option<Box<dyn DirectLoss>> {
        self.loss(&component.kind).build.direct.as_ref().map(|build| build(&component.args))
    }

    /// The sampler of a sweep.
    pub fn sampler(&self, component: &Component) -> Box<dyn Sampler> {
        (found(&self.samplers, &component.kind).build)(&component.args)
    }

    /// The pruner of a sweep.
    pub fn pruner(&self, component: &Component) -> Box<dyn Pruner> {
        (found(&self.pruners, &component.kind).build)(&component.args)
    }

    /// The update rule of a checked table.
    pub fn rule(&self, component: &Component) -> Rule {
        (found(&self.optimizers, &component.kind).build)(&component.args)
    }

    /// The schedule of a checked table.
    pub fn schedule(&self, component: &Component) -> Arc<dyn RateSchedule> {
        (found(&self.schedules, &component.kind).build)(&component.args)
    }

    /// The optimizer of a checked table on a device.
    pub fn optimizer<D: Backend>(&self, component: &Component) -> Box<dyn Optimizer<D>> {
        Box::new(RuleOptimizer::<D>::new(self.rule(component)))
    }
}

/// A device, with the constructors that belong to it.
pub trait OnDevice: Backend {
    /// The layer of a recipe.
    fn layer(recipe: &dyn AnyLayer) -> Box<dyn Layer<Self>>;

    /// The loss of a checked table.
    fn loss(registry: &Registry, component: &Component) -> Box<dyn Loss<Self>>;
}

impl OnDevice for Cpu {
    fn layer(recipe: &dyn AnyLayer) -> Box<dyn Layer<Self>> {
        recipe.cpu()
    }

    fn loss(registry: &Registry, component: &Component) -> Box<dyn Loss<Self>> {
        (found(&registry.losses, &component.kind).build.cpu)(&component.args)
    }
}

#[cfg(feature = "cuda")]
impl OnDevice for dfdx::prelude::Cuda {
    fn layer(recipe: &dyn AnyLayer) -> Box<dyn Layer<Self>> {
        recipe.cuda()
    }

    fn loss(registry: &Registry, component: &Component) -> Box<dyn Loss<Self>> {
        (found(&registry.losses, &component.kind).build.cuda)(&component.args)
    }
}
