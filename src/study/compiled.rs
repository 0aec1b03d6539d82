//! Configurations as machines that train: networks that are compiled once, or composed of dfdx operations.

use super::configuration::Configuration;
use super::runs::Executor;
use crate::nn::Network;
use crate::nn::fused::FusedNetwork;
use crate::nn::layer::{Form, LayerPlan};
use crate::registry::{OnDevice, Registry};
use crate::spec::Term;
use crate::tensor::TensorError;
use crate::train::draws::{Seeds, draw};
use crate::train::machine::Machine;
use crate::train::machine::fused::{Cut, DirectTerm, FusedMachine};
use crate::train::machine::tape::{LossTerm, TapeMachine};
use crate::train::rate::Rates;
use crate::train::selection::Patience;
use crate::train::trial::Settings;
use crate::train::watch::Watched;
use crate::train::{Metric, Trial, TrialError};
use std::collections::HashMap;
use std::sync::Arc;

/// What the trials of a configuration share beside its plan: compiled layers, where the executor compiles.
pub struct Compiled(Option<(Blueprint, FusedNetwork)>);

/// What a network is compiled from. How its parameters begin, and what they are, is none of it.
#[derive(PartialEq)]
struct Blueprint {
    layers: Vec<LayerPlan>,
    forms: Vec<Form>,
    /// Signals that losses read.
    read: Vec<String>,
    tbptt: Option<usize>,
}

impl Compiled {
    /// Compiles for the executor that runs the configuration, unless it is what was compiled before.
    pub fn new(plan: &Configuration, before: Option<Compiled>) -> Compiled {
        let blueprint = match plan.executor {
            Executor::Fused => Blueprint::of(plan),
            Executor::Reference => None,
        };
        let Some(blueprint) = blueprint else { return Compiled(None) };
        match before {
            Some(Compiled(Some((of, network)))) if of == blueprint => Compiled(Some((of, network))),
            _ => {
                let Blueprint { forms, read, tbptt, .. } = &blueprint;
                let network = FusedNetwork::new(&plan.network, forms.clone(), read, *tbptt);
                Compiled(Some((blueprint, network)))
            }
        }
    }

    /// Draws data and parameters of a seed, and builds the trial.
    pub fn prepare<D: OnDevice>(
        &self,
        plan: &Configuration,
        registry: &Registry,
        seed: u64,
    ) -> Result<Trial, TrialError> {
        let spec = &plan.spec;
        let metrics: Vec<Arc<dyn Metric>> = spec.train.metrics.iter().map(|metric| registry.metric(metric)).collect();
        metrics.iter().try_for_each(|metric| metric.ready())?;
        let seeds = Seeds { trial: seed, data: spec.data.common.seed, init: spec.init_seed };
        let mut drawn = draw(&plan.generator, seeds, &plan.dataset, &plan.network)?;
        if let Some(stored) = &plan.weights {
            drawn.parameters.clone_from(&stored.values);
        }
        let settings = Settings {
            iterations: plan.iterations,
            batch: spec.train.batch,
            shuffle: spec.train.shuffle,
            clip_norm: spec.train.clip_norm,
            record_every: spec.train.record_every,
            select: spec.train.select,
            validate_every: spec.train.validate_every.unwrap_or(1),
            patience: spec.train.early_stop.as_ref().map(|early| Patience {
                looks: early.patience,
                min_change: early.min_change,
                training: early.of.value == "loss",
            }),
            rates: spec.optimizer.schedule.as_ref().map(|schedule| Rates {
                schedule: registry.schedule(&schedule.component),
                warmup: schedule.common.warmup.value,
                base: registry.rule(&spec.optimizer.component).lr(),
            }),
            metrics,
            watch: spec.train.watch.then(|| Watched::new(&plan.network)),
            output: plan.network.output(),
            signals: plan.network.signals(),
        };
        let machine = self.machine::<D>(plan, registry, &drawn.parameters)?;
        Ok(Trial::new(machine, drawn.data, drawn.order, settings))
    }

    /// The network with parameters by path.
    pub fn machine<D: OnDevice>(
        &self,
        plan: &Configuration,
        registry: &Registry,
        values: &HashMap<String, Vec<f32>>,
    ) -> Result<Box<dyn Machine>, TensorError> {
        match &self.0 {
            Some((_, network)) => Ok(fused_machine(plan, registry, network.with_values(values))),
            None => tape_machine::<D>(plan, registry, values),
        }
    }
}

/// The signal that a loss reads.
pub fn signal_of(plan: &Configuration, term: &Term) -> String {
    term.common.of.as_ref().map_or_else(|| plan.network.output(), |of| of.value.clone())
}

impl Blueprint {
    /// Of a configuration; none where a layer has no fused form, which the plan found out.
    fn of(plan: &Configuration) -> Option<Blueprint> {
        let forms = plan.layers.iter().map(|layer| layer.fused()).collect::<Option<Vec<_>>>()?;
        let read = plan.spec.train.loss.iter().map(|term| signal_of(plan, term)).collect();
        Some(Blueprint { layers: plan.network.layers.clone(), forms, read, tbptt: plan.spec.train.tbptt })
    }
}

fn fused_machine(plan: &Configuration, registry: &Registry, network: FusedNetwork) -> Box<dyn Machine> {
    let spec = &plan.spec;
    let losses = spec.train.loss.iter().filter_map(|term| {
        let loss = registry.direct_loss(&term.loss)?;
        Some(DirectTerm { loss, weight: term.common.weight as f32, signal: signal_of(plan, term) })
    });
    let cut = Cut { segments: spec.train.recompute, threads: spec.threads };
    let rule = registry.rule(&spec.optimizer.component);
    Box::new(FusedMachine::new(network, rule, losses.collect(), cut))
}

fn tape_machine<D: OnDevice>(
    plan: &Configuration,
    registry: &Registry,
    values: &HashMap<String, Vec<f32>>,
) -> Result<Box<dyn Machine>, TensorError> {
    let spec = &plan.spec;
    let device = D::open().map_err(TensorError::from_device)?;
    let layers = plan.layers.iter().map(|layer| D::layer(layer.as_ref()));
    let network = Network::build(&plan.network, layers.collect(), values, &device, spec.train.tbptt)?;
    let losses = spec.train.loss.iter().map(|term| LossTerm {
        loss: D::loss(registry, &term.loss),
        weight: term.common.weight,
        signal: signal_of(plan, term),
    });
    let optimizer = registry.optimizer(&spec.optimizer.component);
    Ok(Box::new(TapeMachine::new(device, network, optimizer, losses.collect())))
}
