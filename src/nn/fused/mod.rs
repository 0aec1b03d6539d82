//! Networks round the tape, on the processor: dense products and fused neuron kernels over flat buffers.
//!
//! The function is that of `nn::network` with the reference executor; only the order in which products are summed
//! differs. `dense` holds weights, transposed, a block for each input of the neurons, so that a product with spikes is
//! a sum of rows; `stage` is a layer; this file the network.

mod dense;
mod stage;

use super::layer::ParameterPlan;
use super::network::NetworkPlan;
use crate::data::Data;
use crate::neuron::Program;
use stage::{Back, Room, Stage};
use std::collections::HashMap;
use std::ops::Range;

/// Spikes denser than this are multiplied as a dense matrix. Decided by counts, so that it is the same everywhere.
const DENSE_FROM: f64 = 0.4;

/// A layer's fused form: a neuron program behind dense weights, or the weights alone.
pub enum Form {
    /// Neurons.
    Neurons(Program),
    /// The dense layer.
    Dense,
}

/// A parameter in the flat buffers.
pub struct Part {
    /// Its path.
    pub path: String,
    /// How it is held.
    pub plan: ParameterPlan,
    start: usize,
    /// Blocks, outputs of a block, and inputs of a matrix that is held transposed.
    turned: Option<[usize; 3]>,
}

impl Part {
    /// Where it lies.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.plan.len()
    }

    /// Its numbers in PyTorch's orientation.
    pub fn to_pytorch(&self, flat: &[f32]) -> Vec<f32> {
        let own = &flat[self.range()];
        let Some([blocks, outputs, inputs]) = self.turned else { return own.to_vec() };
        let cells = (0..blocks).flat_map(|b| (0..outputs).flat_map(move |o| (0..inputs).map(move |i| (b, o, i))));
        cells.map(|(b, o, i)| own[(b * inputs + i) * outputs + o]).collect()
    }

    fn write(&self, values: &[f32], flat: &mut [f32]) {
        let own = &mut flat[self.range()];
        match self.turned {
            None => own.copy_from_slice(values),
            Some([_, outputs, inputs]) => {
                for (row, weights) in values.chunks_exact(inputs).enumerate() {
                    let (block, o) = (row / outputs, row % outputs);
                    for (i, weight) in weights.iter().enumerate() {
                        own[(block * inputs + i) * outputs + o] = *weight;
                    }
                }
            }
        }
    }
}

/// A network.
pub struct FusedNetwork {
    stages: Vec<Stage>,
    parts: Vec<Part>,
    values: Vec<f32>,
    gradients: Vec<f32>,
    /// Weights in PyTorch's orientation, for the gradients of inputs.
    turned: Vec<f32>,
    rooms: HashMap<usize, Vec<Room>>,
    /// Batch size of the last forward pass.
    batch: usize,
}

impl FusedNetwork {
    /// Builds a network; `losses` are the signals that losses read.
    pub fn new(plan: &NetworkPlan, forms: Vec<Form>, values: &HashMap<String, Vec<f32>>, losses: &[String]) -> Self {
        let mut parts = Vec::new();
        let mut start = 0;
        for layer in &plan.layers {
            for parameter in &layer.parameters {
                let turned = match parameter.shape[..] {
                    [rows, inputs] => Some([rows / layer.size.max(1), layer.size.min(rows), inputs]),
                    _ => None,
                };
                let path = format!("{}.{}", layer.name, parameter.name);
                parts.push(Part { path, plan: parameter.clone(), start, turned });
                start += parameter.len();
            }
        }
        let last = plan.layers.len().saturating_sub(1);
        let stages = plan.layers.iter().zip(forms).enumerate();
        let stages = stages.map(|(i, (layer, form))| Stage::new(layer, form, &parts, losses, i == last)).collect();
        let mut flat = vec![0.0; start];
        for part in &parts {
            if let Some(values) = values.get(&part.path) {
                part.write(values, &mut flat);
            }
        }
        let (gradients, turned) = (vec![0.0; start], vec![0.0; start]);
        FusedNetwork { stages, parts, values: flat, gradients, turned, rooms: HashMap::new(), batch: 0 }
    }

    /// The parameters' places.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The parameters.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Their gradients.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// Places, values and gradients, for an update.
    pub fn update(&mut self) -> (&[Part], &mut [f32], &mut [f32]) {
        (&self.parts, &mut self.values, &mut self.gradients)
    }

    /// Replaces the parameters, each in PyTorch's orientation.
    pub fn set_values(&mut self, values: &[Vec<f32>]) {
        for (part, values) in self.parts.iter().zip(values) {
            part.write(values, &mut self.values);
        }
    }

    /// Runs whole sequences.
    pub fn forward(&mut self, batch: &Data) {
        self.batch = batch.samples;
        let stages = &self.stages;
        let new = || stages.iter().map(|stage| stage.room(batch)).collect();
        let rooms = self.rooms.entry(batch.samples).or_insert_with(new);
        for i in 0..self.stages.len() {
            let (before, after) = rooms.split_at_mut(i);
            let stage = &self.stages[i];
            let (input, spikes) = match i.checked_sub(1) {
                Some(previous) => (self.stages[previous].signal(&before[previous]), before[previous].spikes()),
                None => (batch.inputs.as_slice(), None),
            };
            stage.forward(&self.values, input, spikes, batch, &mut after[0]);
            if stage.spikes && i + 1 < self.stages.len() {
                let room = &mut after[0];
                let mut bits = std::mem::take(&mut room.spikes);
                bits.read(stage.signal(room), stage.plan.size);
                room.sparse = bits.density() < DENSE_FROM;
                room.spikes = bits;
            }
            // Losses add to these; what comes from the next layer overwrites its signal's.
            after[0].gradients.iter_mut().flatten().for_each(|gradient| gradient.fill(0.0));
        }
    }

    /// All signals by path.
    pub fn signals(&self) -> impl Iterator<Item = String> + use<> {
        let of =
            |stage: &Stage| stage.plan.signals.iter().map(|s| format!("{}.{s}", stage.plan.name)).collect::<Vec<_>>();
        self.stages.iter().flat_map(of).collect::<Vec<_>>().into_iter()
    }

    /// A signal of the last forward pass: its width and values.
    pub fn signal(&self, path: &str) -> Option<(usize, &[f32])> {
        let (stage, signal) = self.find(path)?;
        let room = &self.rooms.get(&self.batch)?[stage];
        Some((self.stages[stage].plan.size, self.stages[stage].signal_at(room, signal)))
    }

    /// A signal and the gradient that a loss adds to.
    pub fn signal_and_gradient(&mut self, path: &str) -> Option<(&[f32], &mut [f32])> {
        let (stage, signal) = self.find(path)?;
        let room = &mut self.rooms.get_mut(&self.batch)?[stage];
        let Room { memory, currents, gradients, .. } = room;
        let values = self.stages[stage].signal_in(memory, currents, signal);
        Some((values, gradients[signal].as_mut()?))
    }

    fn find(&self, path: &str) -> Option<(usize, usize)> {
        let (layer, signal) = path.split_once('.')?;
        let stage = self.stages.iter().position(|stage| stage.plan.name == layer)?;
        Some((stage, self.stages[stage].plan.signals.iter().position(|name| name == signal)?))
    }

    /// Puts all gradients to zero, for backward passes with the parameters as they are now.
    pub fn begin_gradients(&mut self) {
        self.gradients.fill(0.0);
        for (i, stage) in self.stages.iter().enumerate() {
            if let Some(dense) = stage.dense.as_ref().filter(|_| i > 0) {
                dense.turn(stage.blocks(), &self.values, &mut self.turned);
            }
            let Some(neurons) = &stage.neurons else { continue };
            for (back, projection) in neurons.back.iter().zip(&neurons.program.projections) {
                if let Back::Dense(dense) = back {
                    dense.turn(projection.to.len(), &self.values, &mut self.turned);
                }
            }
        }
    }

    /// Samples that are worked on together, so that what a layer keeps of them stays in the second-level cache. It
    /// depends on shapes alone.
    pub fn chunk(&self, batch: &Data) -> usize {
        const CACHE: usize = 1 << 20;
        let width: usize = self.stages.iter().map(|stage| stage.plan.size * (stage.blocks() + 4)).sum();
        let bytes = 4 * batch.steps * width;
        (CACHE / bytes.max(1)).clamp(1, batch.samples.max(1))
    }

    /// Adds the gradients of the losses that were added to the signals' gradients since the last forward pass.
    pub fn backward(&mut self, batch: &Data) {
        let Some(rooms) = self.rooms.get_mut(&batch.samples) else { return };
        for i in (0..self.stages.len()).rev() {
            let (before, after) = rooms.split_at_mut(i);
            let stage = &self.stages[i];
            stage.backward_neurons(&self.values, &self.turned, &mut after[0], &mut self.gradients);
            let (input, spikes) = match i.checked_sub(1) {
                Some(previous) => (self.stages[previous].signal(&before[previous]), before[previous].spikes()),
                None => (batch.inputs.as_slice(), None),
            };
            stage.add_dense_gradients(input, spikes, &after[0], &mut self.gradients);
            if let Some(previous) = i.checked_sub(1) {
                let output = self.stages[previous].output;
                if let Some(gradient) = &mut before[previous].gradients[output] {
                    stage.backward_dense(&self.values, &self.turned, &after[0], gradient);
                }
            }
        }
    }
}
