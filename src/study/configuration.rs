//! A configuration: what the trials of all seeds share.

use super::check::{check_data, check_early_stop, check_schedule, check_shapes, check_sizes, generator, updates};
use super::measured::Measured;
use super::runs::{Executor, Runs, lacks_fused};
use super::weights::{StoredWeights, WeightsFile};
use crate::data::DataShape;
use crate::data::prepared::Prepared;
use crate::data::split::Part;
use crate::nn::NetworkPlan;
use crate::nn::graph;
use crate::nn::layer::AnyLayer;
use crate::registry::Registry;
use crate::spec::diagnostic::Diagnostics;
use crate::spec::key::Placed;
use crate::spec::source::{Sources, path_of, read_large};
use crate::spec::{DataSpec, Spec};
use crate::tensor::DeviceName;
use crate::train::draws::Generator;
use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What the trials of a configuration are made of.
pub struct Configuration {
    /// The experiment.
    pub spec: Spec,
    /// The network of every trial.
    pub network: NetworkPlan,
    /// The recipes of its layers.
    pub layers: Vec<Arc<dyn AnyLayer>>,
    /// The dataset and its split.
    pub dataset: Arc<Prepared>,
    /// Its shape.
    pub data: DataShape,
    /// Where random numbers come from.
    pub generator: Generator,
    /// Updates of a trial.
    pub iterations: usize,
    /// Parameters to begin with, in place of drawn ones.
    pub weights: Option<StoredWeights>,
    /// What runs the neurons.
    pub executor: Executor,
}

/// What configurations are built from beside their specs.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The components.
    pub registry: &'a Registry,
    /// The texts of the experiment.
    pub sources: &'a Sources,
    /// What runs the trials.
    pub runs: Runs,
    /// What was read.
    pub read: &'a Reads,
}

/// What configurations read, each once: datasets by their keys, and files of weights.
#[derive(Default)]
pub struct Reads {
    datasets: Shared<String, Prepared>,
    weights: Shared<PathBuf, WeightsFile>,
}

/// Things that are made once, by key.
type Shared<K, T> = Mutex<HashMap<K, Arc<T>>>;

/// The thing of a key; of two threads that make it at once the first one's counts.
fn once<K: Hash + Eq, T>(
    shared: &Shared<K, T>,
    key: K,
    make: impl FnOnce() -> Result<T, Diagnostics>,
) -> Result<Arc<T>, Diagnostics> {
    // Nothing panics while it holds the lock.
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(there) = lock().get(&key) {
        return Ok(there.clone());
    }
    let made = Arc::new(make()?);
    Ok(lock().entry(key).or_insert(made).clone())
}

impl Reads {
    fn dataset(&self, data: &DataSpec, place: Surroundings<'_>) -> Result<Arc<Prepared>, Diagnostics> {
        let Surroundings { registry, sources, .. } = place;
        once(&self.datasets, data.key(), || {
            let dataset = registry.dataset(data, sources)?;
            check_data(&data.component, &dataset.shape())?;
            Prepared::new(dataset, data)
        })
    }

    fn weights(&self, file: &Placed<String>, sources: &Sources) -> Result<Arc<WeightsFile>, Diagnostics> {
        let path = weights_path(file, sources);
        once(&self.weights, path.clone(), || WeightsFile::read(&path, Some(file.at)))
    }
}

/// Where the file of `[init] weights` lies.
pub fn weights_path(file: &Placed<String>, sources: &Sources) -> PathBuf {
    sources.folder(file.at).join(path_of(&file.value))
}

impl Configuration {
    /// Builds and checks one.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(mut spec: Spec, place: Surroundings<'_>) -> Result<Configuration, Diagnostics> {
        let Surroundings { registry, sources, runs, read } = place;
        let mut found = Diagnostics::default();
        let dataset = read.dataset(&spec.data, place)?;
        let data = dataset.shape();
        let layers: Vec<_> = spec.layers.iter().map(|layer| registry.layer(&layer.component)).collect();
        let network = graph::plan(&spec.layers, &layers, data.inputs.len())?;
        check_sizes(&spec, &network, &data, &mut found);
        check_shapes(&spec, &network, &data, &mut found);
        let generator = generator(&spec, &network, &mut found);
        check_early_stop(&spec, &dataset, &mut found);
        let stored = spec.init_weights.as_ref().map(|file| read.weights(file, sources)?.of(&network, Some(file.at)));
        let weights = match stored.transpose() {
            Ok(weights) => weights,
            Err(more) => {
                found.list.extend(more.list);
                None
            }
        };
        let iterations = updates(&spec, dataset.trained_on(), &mut found);
        check_schedule(&spec, &dataset, registry, iterations, &mut found);
        if !found.is_empty() {
            return Err(found);
        }
        let mut executor = runs.executor;
        if executor == Executor::Fused
            && let Some(what) = lacks_fused(&spec, &layers, registry)
        {
            executor = Executor::Reference;
            spec.notes.push(format!("{what} has no fused form, so its whole network runs on the reference executor"));
        }
        Ok(Configuration { iterations, network, dataset, data, generator, weights, executor, layers, spec })
    }

    /// A configuration that belongs to no study, on the processor.
    ///
    /// # Errors
    /// As [`Configuration::new`].
    pub fn alone(
        spec: Spec,
        registry: &Registry,
        sources: &Sources,
        executor: Executor,
    ) -> Result<Configuration, Diagnostics> {
        let runs = Runs { executor, device: DeviceName::Cpu };
        Configuration::new(spec, Surroundings { registry, sources, runs, read: &Reads::default() })
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

    /// A digest of what it reads.
    pub fn content(&self) -> Option<String> {
        content(self.dataset.content(), self.weights.as_ref().map(|stored| stored.digest.clone()))
    }
}

/// The digest of what a study reads beside the experiment, before anything is swept.
///
/// # Errors
/// Where its dataset cannot be read.
pub fn content_of(spec: &Spec, registry: &Registry, sources: &Sources) -> Result<Option<String>, Diagnostics> {
    let dataset = registry.dataset(&spec.data, sources)?;
    // Weights that cannot be read are reported with the configuration that begins with them.
    let weights = spec.init_weights.as_ref().and_then(|file| read_large(&weights_path(file, sources)).ok());
    Ok(content(dataset.content(), weights.map(|bytes| blake3::hash(&bytes).to_hex().to_string())))
}

/// Stands between the digests of data and weights.
pub const WEIGHTS: &str = ", weights ";

/// Digests of what is read beside the experiment, as one.
fn content(data: Option<String>, weights: Option<String>) -> Option<String> {
    match (data, weights) {
        (data, None) => data,
        (data, Some(weights)) => Some(format!("{}{WEIGHTS}{weights}", data.unwrap_or_default())),
    }
}
