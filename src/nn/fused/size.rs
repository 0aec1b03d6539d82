//! How many numbers a fused network keeps, counted from its plan before anything is compiled or asked for.

use super::Form;
use crate::nn::{LayerPlan, NetworkPlan};
use crate::tensor::Aligned;

/// Registers of a lane, about; programs have between ten and fifty.
const REGISTERS: usize = 32;

/// Counts of a network's numbers. All of them are as large as they get where they are larger than can be counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    /// Numbers of the parameters, each of which begins at a line of the cache.
    pub parameters: usize,
    /// Numbers of a step of a sample that are worked on at once.
    width: usize,
    /// Numbers that are kept of each step of a sample.
    step: usize,
    /// Numbers that are kept of a sample, however many steps it has.
    sample: usize,
    /// Whether the neurons of a layer read each other.
    recurs: bool,
}

impl Size {
    /// Counts a network; `losses` are the signals that losses read.
    pub fn of(plan: &NetworkPlan, forms: &[Form], losses: &[String]) -> Size {
        let mut size = Size::default();
        for (i, (layer, form)) in plan.layers.iter().zip(forms).enumerate() {
            let numbers = layer.parameters.iter().map(|parameter| product(&parameter.shape));
            let lines = numbers.map(|len| if len > usize::MAX / 2 { len } else { Aligned::next_line(len) });
            size.parameters = lines.fold(size.parameters, usize::saturating_add);
            let graded = layer.signals.iter().enumerate().filter(|(place, signal)| {
                plan.is_read(i, *place) || losses.contains(&format!("{}.{signal}", layer.name))
            });
            let (blocks, step, sample) = of_neuron(layer, form, graded.count());
            size.of_sources(layer);
            size.width = size.width.saturating_add(layer.size.saturating_mul(blocks + 4));
            size.step = size.step.saturating_add(layer.size.saturating_mul(step));
            size.sample = size.sample.saturating_add(layer.size.saturating_mul(sample));
            size.recurs |= matches!(form, Form::Neurons(program) if program.projections.iter().any(|p| p.dense));
        }
        size
    }

    /// Counts what is kept of sources that come later, with their gradients, and the room in which several are summed.
    fn of_sources(&mut self, layer: &LayerPlan) {
        for source in layer.sources.iter().filter(|source| source.delay > 0) {
            self.step = self.step.saturating_add(source.width.saturating_mul(2));
            self.sample = self.sample.saturating_add(product(&[source.width, source.delay, 2]));
        }
        if layer.weighted && layer.sources.len() > 1 {
            self.step = self.step.saturating_add(layer.size);
        }
    }

    /// Samples that are worked on together, so that what a layer keeps of them for so many steps stays in the
    /// second-level cache, or takes no more than a few times the room of the weights, which each chunk reads. It
    /// depends on shapes alone. Where every neuron reads every other a step is a product of its own, which needs some
    /// rows to pay for reading the weights. With `little` it takes half the room, and a little longer.
    pub fn chunk(&self, steps: usize, samples: usize, little: bool) -> usize {
        const CACHE: usize = 1 << 20;
        const ROWS: usize = 10;
        let bytes = product(&[4, steps, self.width]);
        let least = if self.recurs { ROWS } else { 1 };
        let room = (CACHE >> usize::from(little)).max(self.parameters.saturating_mul(4 * size_of::<f32>()));
        let most = (room / bytes.max(1)).max(least).min(samples.max(1));
        samples.div_ceil(samples.div_ceil(most).max(1)).max(1)
    }

    /// Numbers of the rooms for so many steps and samples.
    pub fn room(&self, steps: usize, samples: usize) -> usize {
        samples.saturating_mul(steps.saturating_mul(self.step).saturating_add(self.sample))
    }
}

/// Of a neuron with so many signals that gradients come to: its inputs, the numbers kept of each step, and those kept whatever the steps are.
fn of_neuron(layer: &LayerPlan, form: &Form, graded: usize) -> (usize, usize, usize) {
    match form {
        Form::Dense => (1, 1 + layer.signals.len(), 0),
        Form::Neurons(program) => {
            let (blocks, states) = (program.inputs.len(), program.states.len());
            let inputs = blocks + program.projections.iter().map(|projection| projection.to.len()).sum::<usize>();
            let is_state = |assigned: &str| program.states.iter().any(|(state, _)| state == assigned);
            let own = program.outputs.iter().filter(|(_, assigned)| !is_state(assigned)).count();
            // Inputs and their gradients, and states, signals and the gradients of these.
            (blocks, 2 * inputs + states + own + graded, 2 * states + program.params.len() + REGISTERS)
        }
    }
}

/// As large as it gets, where it is larger than can be counted.
pub fn product(factors: &[usize]) -> usize {
    factors.iter().fold(1usize, |product, factor| product.saturating_mul(*factor))
}
