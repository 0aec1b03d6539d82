//! How components come into the registry: `to.loss("mse", |()| Mse).about("...")`. Built-in ones and those of other crates
//! register alike; whatever is registered shows in `list`, `show`, the schema and suggestions, and is checked alike.

use super::{Catalog, LayerBuild, LossBuild, MetricBuild, Registered, Registry, keys};
use crate::data::{Dataset, Reading};
use crate::nn::Initialiser;
use crate::nn::layer::{Lookup, Recipe};
use crate::search::pruner::Pruner;
use crate::search::sampler::Sampler;
use crate::spec::Component;
use crate::spec::component::{Info, Origin};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::key::Keys;
use crate::spec::tree::Table;
use crate::train::Metric;
use crate::train::loss::{DirectLoss, EveryLoss};
use crate::train::optimizer::Rule;
use crate::train::rate::RateSchedule;
use std::sync::Arc;

/// A crate that brings components.
#[derive(Clone, Copy)]
pub struct Crate {
    /// Its name, as `env!("CARGO_PKG_NAME")` gives it.
    pub name: &'static str,
    /// Its version, as `env!("CARGO_PKG_VERSION")` gives it. It enters the identity of trials that use the crate.
    pub version: &'static str,
    /// Registers its components.
    pub register: fn(&mut Additions<'_>),
}

/// Where components are registered.
pub struct Additions<'a> {
    registry: &'a mut Registry,
    origin: Origin,
}

/// A component that was just registered, to say more of it.
pub struct Adding<'a, B> {
    entry: &'a mut Registered<B>,
}

impl<'a> Additions<'a> {
    /// Registers components that come from `origin`.
    pub fn new(registry: &'a mut Registry, origin: Origin) -> Self {
        Additions { registry, origin }
    }

    /// A dataset that nothing outside of the program is read for, from its keys.
    ///
    /// # Panics
    /// Where a dataset of this name is registered, as all of these do.
    pub fn dataset<K: Keys, S: Dataset + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(K) -> S + Send + Sync + 'static,
    ) -> Adding<'_, super::DatasetBuild> {
        self.dataset_of_files(name, move |keys, _| Ok(build(keys)))
    }

    /// A dataset of files from its keys; what they name may turn out not to be there.
    pub fn dataset_of_files<K: Keys, S: Dataset + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(K, &Reading<'_>) -> Result<S, Diagnostics> + Send + Sync + 'static,
    ) -> Adding<'_, super::DatasetBuild> {
        let build = move |component: &Component, reading: &Reading<'_>| {
            Ok(Box::new(build(keys(&component.args), reading)?) as Box<dyn Dataset>)
        };
        add::<K, _>(&mut self.registry.datasets, name, &self.origin, Arc::new(build))
    }

    /// A layer: its recipe, from its keys and what they name.
    pub fn layer<K: Keys, R: Recipe>(
        &mut self,
        name: &str,
        build: impl Fn(K, &dyn Lookup) -> R + Send + Sync + 'static,
    ) -> Adding<'_, LayerBuild> {
        assert!(!self.registry.neurons.contains_key(name), "`{name}` is registered already, as a neuron");
        let build = Box::new(move |args: &Table, parts: &dyn Lookup| Arc::new(build(keys(args), parts)) as _);
        add::<K, LayerBuild>(&mut self.registry.layers, name, &self.origin, build)
    }

    /// A loss, from its keys.
    pub fn loss<K: Keys, L: EveryLoss>(
        &mut self,
        name: &str,
        build: impl Fn(K) -> L + Clone + Send + Sync + 'static,
    ) -> Adding<'_, LossBuild> {
        #[cfg(feature = "cuda")]
        let on_cuda = build.clone();
        let build = LossBuild {
            cpu: Box::new(move |args| Box::new(build(keys(args)))),
            #[cfg(feature = "cuda")]
            cuda: Box::new(move |args| Box::new(on_cuda(keys(args)))),
            direct: None,
            unit: "1".into(),
        };
        add::<K, _>(&mut self.registry.losses, name, &self.origin, build)
    }

    /// A metric, from its keys. Lower is better, unless it is said otherwise.
    ///
    /// # Panics
    /// Where tables have a column of this name, such as `seed`.
    pub fn metric<K: Keys, M: Metric + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(K) -> M + Send + Sync + 'static,
    ) -> Adding<'_, MetricBuild> {
        if let Some(why) = super::taken_by_tables(name) {
            panic!("{why}");
        }
        let build = Box::new(move |args: &Table| Arc::new(build(keys(args))) as Arc<dyn Metric>);
        let build = MetricBuild { build, unit: "1".into(), lower_is_better: true };
        add::<K, _>(&mut self.registry.metrics, name, &self.origin, build)
    }

    /// An optimizer: its update rule, from its keys.
    pub fn optimizer<K: Keys>(
        &mut self,
        name: &str,
        rule: impl Fn(K) -> Rule + Send + Sync + 'static,
    ) -> Adding<'_, super::OptimizerBuild> {
        add::<K, super::OptimizerBuild>(
            &mut self.registry.optimizers,
            name,
            &self.origin,
            Box::new(move |args| rule(keys(args))),
        )
    }

    /// A schedule of learning rates, from its keys.
    pub fn schedule<K: Keys, S: RateSchedule + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(K) -> S + Send + Sync + 'static,
    ) -> Adding<'_, super::ScheduleBuild> {
        let build = Box::new(move |args: &Table| Arc::new(build(keys(args))) as _);
        add::<K, super::ScheduleBuild>(&mut self.registry.schedules, name, &self.origin, build)
    }

    /// An initialiser, from its keys; the flag asks for that of a bias. One with a single key of its own name is also a
    /// distribution of parameters: `beta = { uniform = [0, 1] }`.
    pub fn initialiser<K: Keys, I: Initialiser + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(K, bool) -> I + Send + Sync + 'static,
    ) -> Adding<'_, super::InitialiserBuild> {
        let build = Box::new(move |args: &Table, bias: bool| Arc::new(build(keys(args), bias)) as _);
        add::<K, super::InitialiserBuild>(&mut self.registry.initialisers, name, &self.origin, build)
    }

    /// A sampler, from its keys.
    pub fn sampler<K: Keys, S: Sampler + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(K) -> S + Send + Sync + 'static,
    ) -> Adding<'_, super::SamplerBuild> {
        let build = Box::new(move |args: &Table| Box::new(build(keys(args))) as _);
        add::<K, super::SamplerBuild>(&mut self.registry.samplers, name, &self.origin, build)
    }

    /// A pruner, from its keys.
    pub fn pruner<K: Keys, P: Pruner + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(K) -> P + Send + Sync + 'static,
    ) -> Adding<'_, super::PrunerBuild> {
        let build = Box::new(move |args: &Table| Box::new(build(keys(args))) as _);
        add::<K, super::PrunerBuild>(&mut self.registry.pruners, name, &self.origin, build)
    }
}

/// Registers a component with the keys that it is made from.
fn add<'a, K: Keys, B>(catalog: &'a mut Catalog<B>, name: &str, origin: &Origin, build: B) -> Adding<'a, B> {
    assert!(crate::spec::check::is_name(name), "`{name}` is not a name: small letters, digits and `_`");
    assert!(!catalog.contains_key(name), "`{name}` is registered already");
    let info = Info { origin: origin.clone(), fields: K::fields(), ..Info::named(name) };
    Adding { entry: catalog.entry(name.into()).or_insert(Registered { info, build }) }
}

impl<B> Adding<'_, B> {
    /// What it is, in a sentence whose first words stand in `runner list`.
    pub fn about(self, text: &str) -> Self {
        self.entry.info.about = text.into();
        self
    }

    /// The paper it comes from.
    pub fn source(self, text: &str) -> Self {
        self.entry.info.source = Some(text.into());
        self
    }

    /// More for `runner show`: equations, parameters, signals.
    pub fn detail(self, text: &str) -> Self {
        self.entry.info.detail = text.into();
        self
    }

    /// The version of what it computes, 1 unless said: raised when the same keys give other numbers.
    pub fn meaning(self, version: u32) -> Self {
        self.entry.info.meaning = version;
        self
    }
}

impl Adding<'_, LossBuild> {
    /// Its unit, in terms of the target's: `target^2`.
    pub fn unit(self, unit: &str) -> Self {
        self.entry.build.unit = unit.into();
        self
    }

    /// The loss and its gradient in one pass, from the same keys, with which the fused executor runs it.
    pub fn direct<K: Keys, L: DirectLoss + 'static>(self, build: impl Fn(K) -> L + Send + Sync + 'static) -> Self {
        self.entry.build.direct = Some(Box::new(move |args| Box::new(build(keys(args)))));
        self
    }
}

impl Adding<'_, MetricBuild> {
    /// Its unit, in terms of the target's; a pure number unless said.
    pub fn unit(self, unit: &str) -> Self {
        self.entry.build.unit = unit.into();
        self
    }

    /// Higher is better.
    pub fn higher_is_better(self) -> Self {
        self.entry.build.lower_is_better = false;
        self
    }
}
