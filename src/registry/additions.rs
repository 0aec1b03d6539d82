//! How components come into the registry: `to.loss("mse", |_| Mse).about("...")`. Built-in ones and those of other crates
//! register alike; whatever is registered shows in `list`, `show`, the schema and suggestions, and is checked alike.

use super::{Catalog, Entry, LayerBuild, LossBuild, MetricBuild, Registry};
use crate::data::Dataset;
use crate::nn::Initialiser;
use crate::nn::layer::LayerKind;
use crate::search::pruner::Pruner;
use crate::search::sampler::Sampler;
use crate::spec::Component;
use crate::spec::component::{Info, Origin};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::fields::Field;
use crate::spec::source::Sources;
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
    entry: &'a mut Entry<B>,
}

impl<'a> Additions<'a> {
    /// Registers components that come from `origin`.
    pub fn new(registry: &'a mut Registry, origin: Origin) -> Self {
        Additions { registry, origin }
    }

    /// A dataset, from its checked keys; what they name may turn out not to be there. Paths among them are relative to
    /// the file that they stand in.
    ///
    /// # Panics
    /// Where a dataset of this name is registered, as all of these do.
    pub fn dataset(
        &mut self,
        name: &str,
        build: impl Fn(&Component, &Sources) -> Result<Box<dyn Dataset>, Diagnostics> + Send + Sync + 'static,
    ) -> Adding<'_, super::DatasetBuild> {
        add(&mut self.registry.datasets, name, &self.origin, Arc::new(build))
    }

    /// A layer.
    pub fn layer(&mut self, name: &str, kind: impl LayerKind + 'static) -> Adding<'_, LayerBuild> {
        assert!(!self.registry.neurons.contains_key(name), "`{name}` is registered already, as a neuron");
        add(&mut self.registry.layers, name, &self.origin, LayerBuild::new(kind))
    }

    /// A loss, from its checked keys.
    pub fn loss<L: EveryLoss>(
        &mut self,
        name: &str,
        build: impl Fn(&Table) -> L + Clone + Send + Sync + 'static,
    ) -> Adding<'_, LossBuild> {
        #[cfg(feature = "cuda")]
        let on_cuda = build.clone();
        let build = LossBuild {
            cpu: Box::new(move |args| Box::new(build(args))),
            #[cfg(feature = "cuda")]
            cuda: Box::new(move |args| Box::new(on_cuda(args))),
            direct: None,
            unit: "1".into(),
        };
        add(&mut self.registry.losses, name, &self.origin, build)
    }

    /// A metric, from its checked keys. Lower is better, unless it is said otherwise.
    ///
    /// # Panics
    /// Where tables have a column of this name, such as `seed`.
    pub fn metric<M: Metric + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(&Table) -> M + Send + Sync + 'static,
    ) -> Adding<'_, MetricBuild> {
        if let Some(why) = super::taken_by_tables(name) {
            panic!("{why}");
        }
        let build = Box::new(move |args: &Table| Arc::new(build(args)) as Arc<dyn Metric>);
        add(
            &mut self.registry.metrics,
            name,
            &self.origin,
            MetricBuild { build, unit: "1".into(), lower_is_better: true },
        )
    }

    /// An optimizer: its update rule from checked keys.
    pub fn optimizer(
        &mut self,
        name: &str,
        rule: impl Fn(&Table) -> Rule + Send + Sync + 'static,
    ) -> Adding<'_, super::OptimizerBuild> {
        add(&mut self.registry.optimizers, name, &self.origin, Box::new(rule))
    }

    /// A schedule of learning rates, from its checked keys.
    pub fn schedule<S: RateSchedule + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(&Table) -> S + Send + Sync + 'static,
    ) -> Adding<'_, super::ScheduleBuild> {
        add(&mut self.registry.schedules, name, &self.origin, Box::new(move |args| Arc::new(build(args))))
    }

    /// An initialiser, from its checked keys; the flag asks for that of a bias. One with a single key of its own name
    /// is also a distribution of parameters: `beta = { uniform = [0, 1] }`.
    pub fn initialiser(
        &mut self,
        name: &str,
        build: impl Fn(&Table, bool) -> Arc<dyn Initialiser> + Send + Sync + 'static,
    ) -> Adding<'_, super::InitialiserBuild> {
        add(&mut self.registry.initialisers, name, &self.origin, Box::new(build))
    }

    /// A sampler, from its checked keys.
    pub fn sampler<S: Sampler + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(&Table) -> S + Send + Sync + 'static,
    ) -> Adding<'_, super::SamplerBuild> {
        add(&mut self.registry.samplers, name, &self.origin, Box::new(move |args| Box::new(build(args))))
    }

    /// A pruner, from its checked keys.
    pub fn pruner<P: Pruner + 'static>(
        &mut self,
        name: &str,
        build: impl Fn(&Table) -> P + Send + Sync + 'static,
    ) -> Adding<'_, super::PrunerBuild> {
        add(&mut self.registry.pruners, name, &self.origin, Box::new(move |args| Box::new(build(args))))
    }
}

fn add<'a, B>(catalog: &'a mut Catalog<B>, name: &str, origin: &Origin, build: B) -> Adding<'a, B> {
    assert!(crate::spec::check::is_name(name), "`{name}` is not a name: small letters, digits and `_`");
    assert!(!catalog.contains_key(name), "`{name}` is registered already");
    let info = Info { origin: origin.clone(), ..Info::named(name) };
    Adding { entry: catalog.entry(name.into()).or_insert(Entry { info, build }) }
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

    /// The keys it takes. They are checked before it is built, and defaults are filled in.
    pub fn fields(self, fields: Vec<Field>) -> Self {
        self.entry.info.fields = fields;
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

    /// The loss and its gradient in one pass, with which the fused executor runs it.
    pub fn direct(self, direct: DirectLoss) -> Self {
        self.entry.build.direct = Some(direct);
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
