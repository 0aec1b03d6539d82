//! What `[train] watch` records of each layer beside the loss: whether neurons fire, and whether gradients arrive.

use super::machine::Machine;
use crate::nn::{LayerPlan, NetworkPlan};
use crate::tensor::TensorError;

/// The layers of a network, as far as they are watched.
pub struct Watched {
    layers: Vec<LayerPlan>,
}

impl Watched {
    /// All layers of a network.
    pub fn new(network: &NetworkPlan) -> Watched {
        Watched { layers: network.layers.clone() }
    }

    /// Names of the columns, in the order of the values that [`Watched::rates`] and [`Watched::gradients`] give.
    pub fn names(&self) -> Vec<String> {
        let spiking = self.layers.iter().filter(|layer| spikes(layer).is_some());
        let rates = spiking.flat_map(|layer| ["firing_rate", "silent", "saturated"].map(|name| (layer, name)));
        let learning = self.layers.iter().flat_map(|layer| {
            let gradient = learns(layer).then_some((layer, "gradient_norm"));
            gradient.into_iter().chain(bounded(layer).then_some((layer, "at_bound")))
        });
        rates.chain(learning).map(|(layer, name)| format!("{}.{name}", layer.name)).collect()
    }

    /// Whether a signal is read, by path.
    pub fn reads(&self, path: &str) -> bool {
        self.layers.iter().filter_map(spikes).any(|signal| signal == path)
    }

    /// After a forward pass, of each spiking layer: spikes a neuron and step, the share of neurons that were silent
    /// for all steps and samples, and of those that fired in all of them.
    pub fn rates(&self, machine: &dyn Machine) -> Vec<f64> {
        let mut rates = Vec::new();
        for path in self.layers.iter().filter_map(spikes) {
            let Some((width, values)) = machine.signal(&path) else { continue };
            let mut counts = vec![0.0_f64; width];
            for row in values.chunks_exact(width) {
                counts.iter_mut().zip(row).for_each(|(count, spike)| *count += f64::from(*spike));
            }
            let rows = (values.len() / width) as f64;
            let share = |is: &dyn Fn(f64) -> bool| {
                counts.iter().filter(|count| is(**count)).count() as f64 / counts.len() as f64
            };
            let rate = counts.iter().sum::<f64>() / (rows * counts.len() as f64);
            rates.extend([rate, share(&|count| count == 0.0), share(&|count| count >= rows)]);
        }
        rates
    }

    /// After a backward pass, of each layer that learns: the Euclidean norm of its gradients, and where it has
    /// parameters with bounds the share of their numbers that lie at one or beyond.
    pub fn gradients(&self, machine: &mut dyn Machine) -> Result<Vec<f64>, TensorError> {
        let (gradients, parameters) = (machine.gradients()?, machine.parameters());
        let mut values = Vec::new();
        let mut place = 0;
        for layer in &self.layers {
            let (mut squares, mut stuck, mut numbers) = (0.0, 0usize, 0usize);
            for plan in &layer.parameters {
                let (gradient, (.., held)) = (&gradients[place], &parameters[place]);
                place += 1;
                if !plan.learn {
                    continue;
                }
                squares += gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
                let Some((low, high)) = plan.bounds else { continue };
                numbers += held.len();
                stuck += held.iter().filter(|value| f64::from(**value) <= low || f64::from(**value) >= high).count();
            }
            if learns(layer) {
                values.push(squares.sqrt());
            }
            if bounded(layer) {
                values.push(stuck as f64 / numbers as f64);
            }
        }
        Ok(values)
    }
}

/// The path of a layer's spikes.
fn spikes(layer: &LayerPlan) -> Option<String> {
    layer.signals.iter().any(|signal| signal == "spikes").then(|| format!("{}.spikes", layer.name))
}

fn learns(layer: &LayerPlan) -> bool {
    layer.parameters.iter().any(|plan| plan.learn)
}

fn bounded(layer: &LayerPlan) -> bool {
    layer.parameters.iter().any(|plan| plan.learn && plan.bounds.is_some())
}
