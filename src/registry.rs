//! The registry: name to component, with the documentation and keys of each. Nowhere else are names matched.
//!
//! Built-in text plugins are embedded; more are read from `plugins/` folders. What registers here shows in
//! `runner list` and `show`, in the schema, and in suggestions.

use crate::data::Dataset;
use crate::data::function::FunctionModel;
use crate::formula::Expr;
use crate::neuron::{Model, Surrogate, describe, program};
use crate::nn::layer::{Initialisers, Layer, LayerKind, Surrogates};
use crate::nn::{Initialiser, init, linear, neurons};
use crate::spec::Component;
use crate::spec::component::{Components, Info, Kind};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::fields::{Field, Pair, Range, SEED, Type};
use crate::spec::source::{self, Sources, Span};
use crate::spec::tree::{self, Table, Value};
use crate::study::sampler::{self, Sampler};
use crate::tensor::Backend;
use crate::train::loss::DirectLoss;
use crate::train::optimizer::{self, Rule, RuleOptimizer};
use crate::train::{Loss, Metric, Optimizer, loss, metric};
use dfdx::prelude::Cpu;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The texts of built-in plugins by their paths.
macro_rules! builtin {
    ($($path:literal),* $(,)?) => {
        [$((concat!($path, ".toml"), include_str!(concat!("../plugins/builtin/", $path, ".toml")))),*]
    };
}

/// Text plugins that every binary carries: file name and text.
const BUILTIN: &[(&str, &str)] = &builtin![
    "datasets/linear",
    "datasets/sqrt",
    "neurons/alif",
    "neurons/alpha",
    "neurons/if",
    "neurons/lapicque",
    "neurons/leaky",
    "neurons/li",
    "neurons/lstm",
    "neurons/resonate_and_fire",
    "neurons/rleaky",
    "neurons/rsynaptic",
    "neurons/slstm",
    "neurons/synaptic",
    "surrogates/atan",
    "surrogates/boxcar",
    "surrogates/fast_sigmoid",
    "surrogates/gaussian",
    "surrogates/heaviside",
    "surrogates/leaky_spike",
    "surrogates/sigmoid",
    "surrogates/sparse_fast_sigmoid",
    "surrogates/spike_rate_escape",
    "surrogates/straight_through_estimator",
    "surrogates/triangle",
    "surrogates/triangular",
];

/// A component with what is known of it.
pub struct Entry<B> {
    /// What is shown and checked.
    pub info: Info,
    /// What makes one.
    pub build: B,
}

/// Components of one kind by name.
pub type Catalog<B> = BTreeMap<String, Entry<B>>;

/// Makes a dataset from its checked keys; paths among them are relative to the file that they stand in.
///
/// # Errors
/// Where what the keys name cannot be read, underlined in the experiment.
pub type DatasetBuild = Arc<dyn Fn(&Component, &Sources) -> Result<Box<dyn Dataset>, Diagnostics> + Send + Sync>;

/// Makes an initialiser from its checked keys; the flag asks for that of a bias.
pub type InitialiserBuild = fn(&Table, bool) -> Arc<dyn Initialiser>;

/// A loss on each device.
pub struct LossBuild {
    /// On the processor.
    pub cpu: fn(&Table) -> Box<dyn Loss<Cpu>>,
    /// On a GPU.
    #[cfg(feature = "cuda")]
    pub cuda: fn(&Table) -> Box<dyn Loss<dfdx::prelude::Cuda>>,
    /// With its gradient in one pass, for the fused executor; without it the network runs on the tape.
    pub direct: Option<DirectLoss>,
    /// Its unit, in terms of the target's.
    pub unit: &'static str,
}

/// A metric.
pub struct MetricBuild {
    /// What computes it.
    pub compute: Metric,
    /// Its unit, in terms of the target's; `1` for a pure number.
    pub unit: &'static str,
    /// Whether lower is better.
    pub lower_is_better: bool,
}

/// An optimizer: its update rule from checked keys.
pub type OptimizerBuild = fn(&Table) -> Rule;

/// Makes a sampler from its checked keys.
pub type SamplerBuild = fn(&Table) -> Box<dyn Sampler>;

/// All components.
#[derive(Default)]
pub struct Registry {
    /// Datasets.
    pub datasets: Catalog<DatasetBuild>,
    /// Layers without neurons.
    pub layers: Catalog<Arc<dyn LayerKind>>,
    /// Neurons, each of which is also a layer.
    pub neurons: Catalog<Arc<dyn LayerKind>>,
    /// Surrogates.
    pub surrogates: Catalog<Surrogate>,
    /// Losses.
    pub losses: Catalog<LossBuild>,
    /// Metrics.
    pub metrics: Catalog<MetricBuild>,
    /// Optimizers.
    pub optimizers: Catalog<OptimizerBuild>,
    /// Initialisers.
    pub initialisers: Catalog<InitialiserBuild>,
    /// Samplers.
    pub samplers: Catalog<SamplerBuild>,
}

impl Registry {
    /// The built-in components.
    ///
    /// # Errors
    /// Where an embedded plugin is wrong, which a test rules out.
    pub fn builtin(sources: &mut Sources) -> Result<Registry, Diagnostics> {
        let mut registry = Registry::default();
        registry.add_losses();
        registry.add_metrics();
        registry.add_optimizers();
        registry.add_initialisers();
        registry.add_samplers();
        add(&mut registry.layers, linear::info(), Arc::new(linear::LinearKind) as Arc<dyn LayerKind>);
        let mut found = Diagnostics::default();
        for &(name, text) in BUILTIN {
            let source = sources.add(format!("plugins/builtin/{name}"), text);
            registry.add_plugin(source, None, sources, &mut found);
        }
        if found.is_empty() { Ok(registry) } else { Err(found) }
    }

    fn add_losses(&mut self) {
        let mse = LossBuild {
            cpu: |_| Box::new(loss::Mse),
            #[cfg(feature = "cuda")]
            cuda: |_| Box::new(loss::Mse),
            direct: Some(loss::mse),
            unit: "target^2",
        };
        let l1 = LossBuild {
            cpu: |_| Box::new(loss::L1),
            #[cfg(feature = "cuda")]
            cuda: |_| Box::new(loss::L1),
            direct: Some(loss::l1),
            unit: "target",
        };
        add(&mut self.losses, entry("mse", "Mean squared error over steps, samples and channels", vec![]), mse);
        add(&mut self.losses, entry("l1", "Mean absolute error over steps, samples and channels", vec![]), l1);
    }

    fn add_metrics(&mut self) {
        let mut one = |name, about, compute, unit, lower_is_better| {
            add(&mut self.metrics, entry(name, about, vec![]), MetricBuild { compute, unit, lower_is_better });
        };
        one("mse", "Mean squared error over steps, samples and channels", metric::mse as Metric, "target^2", true);
        one("l1", "Mean absolute error over steps, samples and channels", metric::l1, "target", true);
        one(
            "relative_error",
            "Mean over the steps after the first of |error| / |target|, Euclidean over channels (snnTorch's tutorial)",
            metric::relative_error,
            "1",
            true,
        );
        one(
            "nmse",
            "Mean squared error / variance of the target; 1 is what the target's mean gives",
            metric::nmse,
            "1",
            true,
        );
        one(
            "r2",
            "Coefficient of determination: 1 is perfect, 0 is what the target's mean gives",
            metric::r2,
            "1",
            false,
        );
    }

    fn add_optimizers(&mut self) {
        let adam = "Adam (Kingma & Ba 2015, arXiv 1412.6980); weight decay as an L2 term";
        let adamw = "Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101)";
        let rmsprop = "RMSprop (Tieleman & Hinton 2012); `eps` stands inside of the root, unlike PyTorch's";
        let mut one = |name, about, fields, rule| add(&mut self.optimizers, entry(name, about, fields), rule);
        one("adam", adam, optimizer::adam_fields(0.0), Rule::adam as OptimizerBuild);
        one("adamw", adamw, optimizer::adam_fields(0.01), Rule::adamw);
        one("sgd", "Stochastic gradient descent, with momentum if asked for", optimizer::sgd_fields(), Rule::sgd);
        one("rmsprop", rmsprop, optimizer::rmsprop_fields(), Rule::rmsprop);
    }

    fn add_initialisers(&mut self) {
        let any = Range::ANY;
        let low_high = Type::Pair(Pair { names: ["low", "high"], ranges: [any; 2], ordered: true });
        let mean_sd = Type::Pair(Pair { names: ["mean", "sd"], ranges: [any, Range::NOT_NEGATIVE], ordered: false });
        let field = |name, ty, about| vec![Field::required(name, ty, about)];
        let uniform = field("uniform", low_high, "drawn uniformly from [low, high)");
        let normal = field("normal", mean_sd, "drawn from a normal distribution, [mean, sd]");
        let constant = field("constant", Type::Number(any), "this number");
        let mut one = |name, about, fields, build| add(&mut self.initialisers, entry(name, about, fields), build);
        one(
            "uniform",
            "Uniform distribution",
            uniform,
            (|args, _| {
                let (low, high) = args.pair("uniform");
                Arc::new(init::Uniform(low, high))
            }) as InitialiserBuild,
        );
        one("normal", "Normal distribution", normal, |args, _| {
            let (mean, sd) = args.pair("normal");
            Arc::new(init::Normal(mean, sd))
        });
        one("constant", "One number everywhere", constant, |args, _| Arc::new(init::Constant(args.number("constant"))));
        one("torch_linear", "Uniform within 1 / sqrt(inputs), as PyTorch's Linear begins", vec![], |_, bias| {
            Arc::new(init::TorchLinear { bias })
        });
    }

    fn add_samplers(&mut self) {
        let grid = "Every combination of all values, the last dimension fastest";
        let random = "Values drawn independently and evenly, each configuration at most once";
        let seed = Field::default("seed", SEED, Value::Int(0), "which configurations are drawn");
        let mut one = |name, about, fields, build| add(&mut self.samplers, entry(name, about, fields), build);
        one("grid", grid, vec![], (|_| Box::new(sampler::Grid)) as SamplerBuild);
        one("random", random, vec![seed], |args| Box::new(sampler::Random { seed: args.seed().unwrap_or(0) }));
    }

    /// Reads the text plugins of a folder, if it is there: every `*.toml` in it, sorted by name.
    pub fn add_folder(&mut self, folder: &Path, sources: &mut Sources, found: &mut Diagnostics) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        for path in files {
            match source::read(&path) {
                Ok(text) => {
                    let source = sources.add(path.display().to_string(), text);
                    self.add_plugin(source, Some(&path), sources, found);
                }
                Err(error) => found.push(Diagnostic::without_place(Problem::Unreadable { path, error })),
            }
        }
    }

    /// Adds a text plugin that lay in a file of this name.
    pub fn add_text(&mut self, name: &str, text: &str, sources: &mut Sources, found: &mut Diagnostics) {
        let source = sources.add(name, text);
        self.add_plugin(source, Some(Path::new(name)), sources, found);
    }

    /// Reads one text plugin; `path` where it is not built in.
    fn add_plugin(&mut self, source: usize, path: Option<&Path>, sources: &Sources, found: &mut Diagnostics) {
        let at = Span { source, start: 0, end: 0 };
        let before = found.list.len();
        let table = tree::parse(sources, source, found);
        if found.list.len() > before {
            return;
        }
        let Some(name) = table.text("name").filter(|name| crate::spec::check::is_name(name)) else {
            let problem = Problem::MissingKey("name".into());
            found.push(Diagnostic::new(problem, at).label("a name of small letters, digits and `_`"));
            return;
        };
        let plugin = path.map(|path| (path.display().to_string(), sources.get(at).text.clone()));
        match table.text("kind") {
            Some("neuron") => {
                let Some(model) = Model::read(&table, at, sources, found) else { return };
                program::check(&model, found);
                if found.list.len() > before {
                    return;
                }
                let detail = describe::detail(table.text("step").unwrap_or(""), &model);
                let info = Info { plugin, ..crate::neuron::surrogate::info(&table, neurons::fields(&model), detail) };
                let kind: Arc<dyn LayerKind> = Arc::new(neurons::NeuronKind::new(Arc::new(model)));
                put(&mut self.neurons, Kind::Neuron, info, kind, &table, found);
            }
            Some("surrogate") => {
                let Some(surrogate) = Surrogate::read(&table, sources, found) else { return };
                let info = Info { plugin, ..surrogate.info.clone() };
                put(&mut self.surrogates, Kind::Surrogate, info, surrogate, &table, found);
            }
            Some("dataset") => {
                let Some(model) = FunctionModel::read(&table, at, sources, found) else { return };
                let info = Info { plugin, ..model.info.clone() };
                let build: DatasetBuild = Arc::new(move |component, _| Ok(model.build(&component.args)));
                put(&mut self.datasets, Kind::Dataset, info, build, &table, found);
            }
            _ => {
                let at = table.get("kind").map_or(at, |node| node.span);
                let problem = Problem::Conflict(format!("the plugin `{name}` has no kind that is known"));
                found.push(
                    Diagnostic::new(problem, at).help("known here: `neuron`, `surrogate`, `dataset`".to_string()),
                );
            }
        }
    }
}

fn entry(name: &str, about: &str, fields: Vec<Field>) -> Info {
    let source = None;
    Info { name: name.into(), about: about.into(), source, fields, detail: String::new(), meaning: 1, plugin: None }
}

fn add<B>(catalog: &mut Catalog<B>, info: Info, build: B) {
    catalog.insert(info.name.clone(), Entry { info, build });
}

/// Adds a plugin. One that takes a built-in's name must say so; two plugins of one name are an error.
fn put<B>(catalog: &mut Catalog<B>, kind: Kind, info: Info, build: B, table: &Table, found: &mut Diagnostics) {
    let at = table.get("name").map(|node| node.span);
    let at = at.unwrap_or(Span { source: 0, start: 0, end: 0 });
    let overrides = table.text("overrides") == Some(&info.name);
    match catalog.get(&info.name) {
        Some(Entry { info: Info { plugin: Some((first, _)), .. }, .. }) => {
            let problem = Problem::Duplicate { what: kind.to_string(), name: info.name.clone() };
            found.push(Diagnostic::new(problem, at).help(format!("the other one is in {first}")));
        }
        Some(_) if !overrides => {
            let problem = Problem::Duplicate { what: kind.to_string(), name: info.name.clone() };
            let help = format!("a {kind} of this name is built in; to replace it say `overrides = \"{}\"`", info.name);
            found.push(Diagnostic::new(problem, at).help(help));
        }
        _ => add(catalog, info, build),
    }
}

impl Components for Registry {
    fn info(&self, kind: Kind, name: &str) -> Option<&Info> {
        match kind {
            Kind::Dataset => self.datasets.get(name).map(|e| &e.info),
            Kind::Layer => self.layers.get(name).map(|e| &e.info).or_else(|| self.neurons.get(name).map(|e| &e.info)),
            Kind::Neuron => self.neurons.get(name).map(|e| &e.info),
            Kind::Surrogate => self.surrogates.get(name).map(|e| &e.info),
            Kind::Loss => self.losses.get(name).map(|e| &e.info),
            Kind::Metric => self.metrics.get(name).map(|e| &e.info),
            Kind::Optimizer => self.optimizers.get(name).map(|e| &e.info),
            Kind::Initialiser => self.initialisers.get(name).map(|e| &e.info),
            Kind::Sampler => self.samplers.get(name).map(|e| &e.info),
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
            Kind::Initialiser => self.initialisers.keys().map(String::as_str).collect(),
            Kind::Sampler => self.samplers.keys().map(String::as_str).collect(),
        };
        names.sort_unstable();
        names
    }
}

/// A component that a checked file names.
///
/// # Panics
/// Where the registry lacks it: then the file was checked against another one.
fn found<'a, B>(catalog: &'a Catalog<B>, name: &str) -> &'a Entry<B> {
    catalog.get(name).unwrap_or_else(|| panic!("`{name}` passed the check, but is not registered"))
}

impl Initialisers for Registry {
    fn initialiser(&self, kind: &str, args: &Table, bias: bool) -> Arc<dyn Initialiser> {
        (found(&self.initialisers, kind).build)(args, bias)
    }
}

impl Surrogates for Registry {
    fn surrogate(&self, args: &Table) -> Expr {
        found(&self.surrogates, args.text("kind").unwrap_or("")).build.bound(args)
    }
}

impl Registry {
    /// The dataset of a checked table.
    ///
    /// # Errors
    /// As [`DatasetBuild`].
    pub fn dataset(&self, component: &Component, sources: &Sources) -> Result<Box<dyn Dataset>, Diagnostics> {
        (found(&self.datasets, &component.kind).build)(component, sources)
    }

    /// The kind of a layer.
    pub fn layer_kind(&self, name: &str) -> Arc<dyn LayerKind> {
        match self.layers.get(name) {
            Some(entry) => entry.build.clone(),
            None => found(&self.neurons, name).build.clone(),
        }
    }

    /// A metric.
    pub fn metric(&self, name: &str) -> &Entry<MetricBuild> {
        found(&self.metrics, name)
    }

    /// A loss.
    pub fn loss(&self, name: &str) -> &Entry<LossBuild> {
        found(&self.losses, name)
    }

    /// The sampler of a sweep.
    pub fn sampler(&self, component: &Component) -> Box<dyn Sampler> {
        (found(&self.samplers, &component.kind).build)(&component.args)
    }

    /// The update rule of a checked table.
    pub fn rule(&self, component: &Component) -> Rule {
        (found(&self.optimizers, &component.kind).build)(&component.args)
    }

    /// The optimizer of a checked table on a device.
    pub fn optimizer<D: Backend>(&self, component: &Component) -> Box<dyn Optimizer<D>> {
        Box::new(RuleOptimizer::<D>::new(self.rule(component)))
    }
}

/// A device, with the constructors that belong to it.
pub trait OnDevice: Backend {
    /// The layer of a kind.
    fn layer(kind: &dyn LayerKind, args: &Table, surrogates: &dyn Surrogates) -> Box<dyn Layer<Self>>;

    /// A loss.
    fn loss(build: &LossBuild, args: &Table) -> Box<dyn Loss<Self>>;
}

impl OnDevice for Cpu {
    fn layer(kind: &dyn LayerKind, args: &Table, surrogates: &dyn Surrogates) -> Box<dyn Layer<Self>> {
        kind.on_cpu(args, surrogates)
    }

    fn loss(build: &LossBuild, args: &Table) -> Box<dyn Loss<Self>> {
        (build.cpu)(args)
    }
}

#[cfg(feature = "cuda")]
impl OnDevice for dfdx::prelude::Cuda {
    fn layer(kind: &dyn LayerKind, args: &Table, surrogates: &dyn Surrogates) -> Box<dyn Layer<Self>> {
        kind.on_cuda(args, surrogates)
    }

    fn loss(build: &LossBuild, args: &Table) -> Box<dyn Loss<Self>> {
        (build.cuda)(args)
    }
}
