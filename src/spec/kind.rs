//! The kinds of components, by their names.

use std::fmt;

/// The kinds of components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where inputs and targets come from.
    Dataset,
    /// A stage of the network, among them every neuron.
    Layer,
    /// A neuron model.
    Neuron,
    /// A stand-in for the derivative of a spike.
    Surrogate,
    /// What training lowers.
    Loss,
    /// What is recorded.
    Metric,
    /// How parameters change with their gradients.
    Optimizer,
    /// How learning rates change.
    Schedule,
    /// How parameters are drawn.
    Initialiser,
    /// What chooses the configurations of a study.
    Sampler,
    /// What drops some of them on the way.
    Pruner,
}

impl Kind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [Kind; 11] = [
        Kind::Dataset,
        Kind::Layer,
        Kind::Neuron,
        Kind::Surrogate,
        Kind::Loss,
        Kind::Metric,
        Kind::Optimizer,
        Kind::Schedule,
        Kind::Initialiser,
        Kind::Sampler,
        Kind::Pruner,
    ];
}

impl Kind {
    /// Its name for several.
    pub fn plural(self) -> String {
        match self {
            Kind::Loss => "losses".into(),
            other => format!("{other}s"),
        }
    }

    /// The article before its name.
    pub fn article(self) -> &'static str {
        match self {
            Kind::Optimizer | Kind::Initialiser => "an",
            Kind::Dataset
            | Kind::Layer
            | Kind::Neuron
            | Kind::Surrogate
            | Kind::Loss
            | Kind::Metric
            | Kind::Schedule
            | Kind::Sampler
            | Kind::Pruner => "a",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Dataset => "dataset",
            Kind::Layer => "layer",
            Kind::Neuron => "neuron",
            Kind::Surrogate => "surrogate",
            Kind::Loss => "loss",
            Kind::Metric => "metric",
            Kind::Optimizer => "optimizer",
            Kind::Schedule => "schedule",
            Kind::Initialiser => "initialiser",
            Kind::Sampler => "sampler",
            Kind::Pruner => "pruner",
        })
    }
}
