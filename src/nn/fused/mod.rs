//! Networks round the tape, on the processor: dense products and fused neuron kernels over flat buffers.
//!
//! The function is that of `nn::network` with the reference executor; only the order in which products are summed
//! differs. `dense` holds weights, transposed, a block for each input of the neurons, so that a product with spikes is
//! a sum of rows; `late` a source that comes later; `stage` is a layer; this file the network.

mod cuts;
mod dense;
mod late;
pub mod size;
mod stage;

pub use super::layer::Form;
use super::layer::ParameterPlan;
use super::network::NetworkPlan;
use crate::data::DataView;
use crate::tensor::Aligned;
use crate::tensor::product::transposed;
use cuts::Cuts;
use dense::Input;
use size::Size;
use stage::{Back, Room, Stage, StageSource};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A parameter in the flat buffers.
pub struct FlatPart {
    /// Its path.
    pub path: String,
    /// How it is held.
    pub plan: ParameterPlan,
    start: usize,
    /// Outputs and inputs of each block of a matrix that is held transposed.
    turned: Option<[usize; 2]>,
}

impl FlatPart {
    /// Where it lies.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.plan.len()
    }

    /// Its numbers in PyTorch's orientation.
    pub fn to_pytorch(&self, flat: &[f32]) -> Vec<f32> {
        let own = &flat[self.range()];
        let mut values = own.to_vec();
        if let Some([outputs, inputs]) = self.turned {
            let blocks = own.chunks_exact(inputs * outputs).zip(values.chunks_exact_mut(inputs * outputs));
            blocks.for_each(|(from, to)| transposed(from, inputs, outputs, to));
        }
        values
    }

    fn write(&self, values: &[f32], flat: &mut [f32]) {
        let own = &mut flat[self.range()];
        match self.turned {
            None => own.copy_from_slice(values),
            Some([outputs, inputs]) => {
                let blocks = values.chunks_exact(inputs * outputs).zip(own.chunks_exact_mut(inputs * outputs));
                blocks.for_each(|(from, to)| transposed(from, outputs, inputs, to));
            }
        }
    }
}

/// A network: compiled layers, which copies share, and parameters. What a pass leaves behind is in a [`Workspace`].
#[derive(Clone)]
pub struct FusedNetwork {
    stages: Arc<[Stage]>,
    parts: Arc<[FlatPart]>,
    values: Aligned,
    /// Weights in PyTorch's orientation, for the gradients of inputs.
    turned: Aligned,
    size: Size,
    /// After how many steps gradients stop on their way back; none for never.
    tbptt: Option<usize>,
}

/// What passes leave behind: signals, gradients, and room that is used again. Each thread has its own.
#[derive(Default)]
pub struct Workspace {
    /// Gradients of the parameters, which backward passes add to.
    pub gradients: Aligned,
    /// Rooms of all layers for each number of steps and samples that was met.
    rooms: Vec<([usize; 2], Vec<Room>)>,
    /// The rooms of the last forward pass.
    current: usize,
    /// Number of the first step of the last forward pass.
    first: usize,
    /// Gradients of the states of each layer, on their way to an earlier segment.
    back: FlatCarry,
}

/// States of every layer between two segments of time.
pub type FlatCarry = Vec<Vec<Aligned>>;

impl FusedNetwork {
    /// Compiles a network, whose parameters are zero; `losses` are the signals that losses read.
    pub fn new(plan: &NetworkPlan, forms: Vec<Form>, losses: &[String], tbptt: Option<usize>) -> Self {
        let mut parts = Vec::new();
        let mut start = 0;
        for layer in &plan.layers {
            for parameter in &layer.parameters {
                let turned = match parameter.shape[..] {
                    [rows, inputs] => Some([layer.size.min(rows), inputs]),
                    _ => None,
                };
                let path = format!("{}.{}", layer.name, parameter.name);
                parts.push(FlatPart { path, plan: parameter.clone(), start, turned });
                start = Aligned::next_line(start + parameter.len());
            }
        }
        let size = Size::of(plan, &forms, losses);
        let stages = plan.order.iter().map(|&layer| Stage::new(plan, layer, &forms[layer], &parts, losses)).collect();
        let (values, turned) = (Aligned::zeros(start), Aligned::zeros(start));
        FusedNetwork { stages, parts: parts.into(), values, turned, size, tbptt }
    }

    /// The same network with parameters by path, each in PyTorch's orientation.
    pub fn with_values(&self, values: &HashMap<String, Vec<f32>>) -> Self {
        let mut network = self.clone();
        for part in network.parts.iter() {
            if let Some(values) = values.get(&part.path) {
                part.write(values, &mut network.values);
            }
        }
        network
    }

    /// The parameters' places.
    pub fn parts(&self) -> &[FlatPart] {
        &self.parts
    }

    /// The parameters.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Places and values, for an update.
    pub fn update(&mut self) -> (&[FlatPart], &mut [f32]) {
        (&self.parts, &mut self.values)
    }

    /// Replaces the parameters, each in PyTorch's orientation.
    pub fn set_values(&mut self, values: &[Vec<f32>]) {
        for (part, values) in self.parts.iter().zip(values) {
            part.write(values, &mut self.values);
        }
    }

    /// Runs a segment of time that begins with step `first`, from where an earlier one left the states.
    pub fn forward(&self, batch: DataView<'_>, first: usize, carry: Option<&FlatCarry>, space: &mut Workspace) {
        space.enter(batch, first, &self.stages);
        let rooms = space.rooms();
        for (i, stage) in self.stages.iter().enumerate() {
            let (before, after) = rooms.split_at_mut(i);
            let inputs = |source: &StageSource| self.input(source, before, batch);
            stage.forward(&self.values, &inputs, batch.steps, carry.map(|carry| carry[i].as_slice()), &mut after[0]);
            stage.read_bits(&mut after[0]);
            // Losses add to these; what comes from other layers is added, too.
            after[0].gradients.iter_mut().flatten().for_each(|gradient| gradient.fill(0.0));
        }
    }

    /// What a source brings before any delay.
    fn input<'a>(&self, source: &StageSource, before: &'a [Room], batch: DataView<'a>) -> Input<'a> {
        match source.from {
            Some((stage, signal)) => {
                let room = &before[stage];
                Input { values: self.stages[stage].signal_at(room, signal), spikes: room.bits(signal) }
            }
            None => Input { values: batch.inputs, spikes: None },
        }
    }

    /// Copies the states after the last step of the last forward pass.
    pub fn carry(&self, space: &mut Workspace, to: &mut FlatCarry) {
        to.resize_with(self.stages.len(), Vec::new);
        let rooms = space.rooms();
        for ((stage, room), to) in self.stages.iter().zip(rooms).zip(to) {
            stage.carry(room, to);
        }
    }

    /// A signal or state of the last forward pass that is not finite, in words.
    pub fn broken(&self, space: &Workspace) -> Option<String> {
        let (_, rooms) = space.rooms.get(space.current)?;
        self.stages.iter().zip(rooms).find_map(|(stage, room)| stage.broken(room))
    }

    /// All signals by path.
    pub fn signals(&self) -> impl Iterator<Item = String> + use<> {
        let of =
            |stage: &Stage| stage.plan.signals.iter().map(|s| format!("{}.{s}", stage.plan.name)).collect::<Vec<_>>();
        self.stages.iter().flat_map(of).collect::<Vec<_>>().into_iter()
    }

    /// A signal of the last forward pass: its width and values.
    pub fn signal<'a>(&self, path: &str, space: &'a Workspace) -> Option<(usize, &'a [f32])> {
        let (stage, signal) = self.find(path)?;
        let room = &space.rooms.get(space.current)?.1[stage];
        Some((self.stages[stage].plan.size, self.stages[stage].signal_at(room, signal)))
    }

    /// A signal and the gradient that a loss adds to.
    pub fn signal_and_gradient<'a>(&self, path: &str, space: &'a mut Workspace) -> Option<(&'a [f32], &'a mut [f32])> {
        let (stage, signal) = self.find(path)?;
        let room = &mut space.rooms.get_mut(space.current)?.1[stage];
        let Room { memory, currents, gradients, .. } = room;
        let values = self.stages[stage].signal_in(memory, currents, signal);
        Some((values, gradients[signal].as_mut()?))
    }

    fn find(&self, path: &str) -> Option<(usize, usize)> {
        let (layer, signal) = path.split_once('.')?;
        let stage = self.stages.iter().position(|stage| stage.plan.name == layer)?;
        Some((stage, self.stages[stage].plan.signals.iter().position(|name| name == signal)?))
    }

    /// Prepares backward passes with the parameters as they are now.
    pub fn turn(&mut self) {
        for stage in self.stages.iter() {
            let read = stage.sources.iter().filter(|source| source.from.is_some());
            for dense in read.filter_map(|source| source.dense.as_ref()) {
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

    /// Samples that are worked on together: [`Size::chunk`].
    pub fn chunk(&self, steps: usize, samples: usize, little: bool) -> usize {
        self.size.chunk(steps, samples, little)
    }

    /// Puts the gradients of the parameters to zero, and forgets those of later segments.
    pub fn begin_backward(&self, space: &mut Workspace) {
        space.gradients.reset(self.values.len());
        space.back.clear();
    }

    /// Adds the gradients of the losses that were added to the signals' gradients since the last forward pass. Of
    /// several segments of time the last goes first; the gradients of the states go on to the one before.
    pub fn backward(&self, batch: DataView<'_>, space: &mut Workspace) {
        let Workspace { gradients, rooms, current, first, back } = space;
        let rooms = &mut rooms[*current].1;
        let cuts = Cuts { first: *first, every: self.tbptt };
        let weights = [&*self.values, &*self.turned];
        for (i, stage) in self.stages.iter().enumerate().rev() {
            let (before, after) = rooms.split_at_mut(i);
            let carry = back.get(i).map(Vec::as_slice);
            stage.backward_neurons(weights, carry, cuts, &mut after[0], gradients);
            let inputs = |source: &StageSource| self.input(source, before, batch);
            stage.add_dense_gradients(&inputs, &after[0], gradients);
            for (place, source) in stage.sources.iter().enumerate() {
                let Some((from, signal)) = source.from else { continue };
                if let Some(gradient) = &mut before[from].gradients[signal] {
                    stage.backward_source(place, weights, carry, cuts, &mut after[0], gradient);
                }
            }
        }
        if *first > 0 {
            *back = rooms.iter().map(Room::state_gradients).collect();
        }
    }
}

impl Workspace {
    /// Makes the rooms for a number of steps and samples the current ones.
    fn enter(&mut self, batch: DataView<'_>, first: usize, stages: &[Stage]) {
        let shape = [batch.steps, batch.samples];
        self.first = first;
        self.current = match self.rooms.iter().position(|(other, _)| *other == shape) {
            Some(place) => place,
            None => {
                self.rooms.push((shape, stages.iter().map(|stage| stage.room(batch)).collect()));
                self.rooms.len() - 1
            }
        };
    }

    fn rooms(&mut self) -> &mut [Room] {
        &mut self.rooms[self.current].1
    }
}
