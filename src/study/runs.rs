//! What runs a trial: an executor, on a class of device.

use crate::nn::AnyLayer;
use crate::registry::Registry;
use crate::spec::Spec;
use crate::tensor::DeviceName;
use std::sync::Arc;

/// What runs the neurons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// What runs instead of it on a device: elsewhere than on the processor the reference.
    pub fn on(self, device: DeviceName) -> Executor {
        match device {
            DeviceName::Cpu => self,
            DeviceName::Cuda => Executor::Reference,
        }
    }
}

/// What a study asks for to run its trials.
#[derive(Debug, Clone, Copy)]
pub struct Runs {
    /// The executor.
    pub executor: Executor,
    /// The class of device.
    pub device: DeviceName,
}

/// The first layer or loss of an experiment that has no fused form, in words. One of them puts the whole network on the
/// reference executor.
pub fn lacks_fused(spec: &Spec, layers: &[Arc<dyn AnyLayer>], registry: &Registry) -> Option<String> {
    let layer = spec.layers.iter().zip(layers).find(|(_, recipe)| !recipe.has_fused());
    let mut losses = spec.train.loss.iter().map(|term| &term.loss.kind);
    let mut loss = || losses.find(|kind| registry.loss(kind).build.direct.is_none());
    layer
        .map(|(layer, _)| format!("layer kind `{}`", layer.component.kind))
        .or_else(|| Some(format!("loss `{}`", loss()?)))
}
