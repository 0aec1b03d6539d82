//! A layer of a fused network: dense weights, neurons with their projections, and what they keep of a pass.

use super::dense::Dense;
use super::{FlatPart, Form};
use crate::data::DataView;
use crate::neuron::StepProgram;
use crate::neuron::fused::{Kernel, Memory, Shape};
use crate::nn::LayerPlan;
use crate::tensor::product::Spikes;
use crate::tensor::{Aligned, is_finite};
use std::ops::Range;

/// A projection of a state back into its layer.
pub enum Back {
    /// Every neuron reads every other.
    Dense(Dense),
    /// Every neuron reads itself, through these weights.
    OneToOne(Range<usize>),
}

/// Where gradients stop on their way back in time (truncated BPTT): before every step whose number is a multiple.
/// Source: Williams & Peng 1990, Neural Computation 2(4), 490-501.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cuts {
    /// Number of the segment's first step.
    pub first: usize,
    /// The multiple; none to go back to the beginning.
    pub every: Option<usize>,
}

impl Cuts {
    /// Whether gradients stop before a step of the segment.
    fn at(self, step: usize) -> bool {
        self.every.is_some_and(|every| (self.first + step).is_multiple_of(every))
    }

    /// The first step that the gradients of the steps before `end` come to.
    fn before(self, end: usize) -> usize {
        let Some(every) = self.every else { return 0 };
        ((self.first + end - 1) / every * every).saturating_sub(self.first)
    }
}

/// A layer.
pub struct Stage {
    /// Its plan.
    pub plan: LayerPlan,
    /// Its weights, if it has any.
    pub dense: Option<Dense>,
    /// Its neurons, if it has any.
    pub neurons: Option<NeuronStage>,
    /// Which of its signals it hands on.
    pub output: usize,
    /// Whether that signal is made of spikes.
    pub spikes: bool,
}

/// The neurons of a layer.
pub struct NeuronStage {
    /// Their program.
    pub program: StepProgram,
    kernel: Kernel,
    params: Vec<Range<usize>>,
    /// Their projections.
    pub back: Vec<Back>,
    /// For each projection the state that it reads.
    from: Vec<usize>,
}

/// What a stage keeps for a batch size.
pub struct Room {
    /// States and gradients of the neurons.
    pub memory: Option<Memory>,
    /// Input currents, `[time, lanes]` for each block.
    pub currents: Vec<Aligned>,
    /// What projections give, `[time, lanes]` for each name.
    projected: Vec<Aligned>,
    /// Gradients of the signals that have any.
    pub gradients: Vec<Option<Aligned>>,
    /// Spikes of its output as bits.
    pub spikes: Spikes,
    /// Whether they are few enough for sums of rows.
    pub sparse: bool,
    /// Parameters after clamping.
    held: Vec<Vec<f32>>,
}

impl Room {
    /// Its output as bits, where sums of rows pay.
    pub fn spikes(&self) -> Option<&Spikes> {
        self.sparse.then_some(&self.spikes)
    }
}

impl Stage {
    /// Plans a layer; `last` says that nothing comes behind it.
    pub fn new(layer: &LayerPlan, form: Form, parts: &[FlatPart], losses: &[String], last: bool) -> Stage {
        let part = |name: &str| {
            let path = format!("{}.{name}", layer.name);
            parts.iter().find(|part| part.path == path)
        };
        let dense_of = |name: &str, inputs: usize| {
            let weight = part(&format!("{name}weight"))?;
            let bias = part(&format!("{name}bias")).map(FlatPart::range);
            Some(Dense { weight: weight.range(), bias, inputs, outputs: layer.size })
        };
        let output = layer.signals.iter().position(|signal| *signal == layer.output).unwrap_or(0);
        let graded: Vec<bool> = (layer.signals.iter().enumerate())
            .map(|(i, signal)| !last && i == output || losses.contains(&format!("{}.{signal}", layer.name)))
            .collect();
        let neurons = match form {
            Form::Dense => None,
            Form::Neurons(program) => {
                let learned: Vec<bool> =
                    program.params.iter().map(|p| part(&p.name).is_some_and(|part| part.plan.learn)).collect();
                let params = program.params.iter().filter_map(|p| part(&p.name).map(FlatPart::range)).collect();
                let back = program.projections.iter().filter_map(|projection| {
                    let name = format!("{}.", projection.name);
                    if projection.dense {
                        dense_of(&name, layer.size).map(Back::Dense)
                    } else {
                        part(&format!("{name}weight")).map(|part| Back::OneToOne(part.range()))
                    }
                });
                let state = |name: &str| program.states.iter().position(|(state, _)| state == name).unwrap_or(0);
                Some(NeuronStage {
                    kernel: Kernel::new(&program, &learned, &graded),
                    params,
                    back: back.collect(),
                    from: program.projections.iter().map(|projection| state(&projection.from)).collect(),
                    program,
                })
            }
        };
        let spikes = neurons.as_ref().is_some_and(|neurons| neurons.kernel.is_spikes(output));
        Stage { plan: layer.clone(), dense: dense_of("", layer.inputs), neurons, output, spikes }
    }

    /// Inputs of a neuron, each with a block of weights.
    pub fn blocks(&self) -> usize {
        self.neurons.as_ref().map_or(1, |neurons| neurons.program.inputs.len())
    }

    /// Room for a batch.
    pub fn room(&self, batch: DataView<'_>) -> Room {
        let shape = Shape { steps: batch.steps, batch: batch.samples, neurons: self.plan.size };
        let all = shape.steps * shape.lanes();
        let graded = |i: usize| match &self.neurons {
            Some(neurons) => neurons.kernel.is_graded(i),
            None => true,
        };
        let names = self.neurons.iter().flat_map(|neurons| &neurons.program.projections).map(|p| p.to.len()).sum();
        Room {
            memory: self.neurons.as_ref().map(|neurons| neurons.kernel.memory(shape)),
            currents: vec![Aligned::zeros(all); self.blocks()],
            projected: vec![Aligned::zeros(all); names],
            gradients: (0..self.plan.signals.len()).map(|i| graded(i).then(|| Aligned::zeros(all))).collect(),
            spikes: Spikes::default(),
            sparse: false,
            held: Vec::new(),
        }
    }

    /// The values of its output after a forward pass, `[time, batch, size]`.
    pub fn signal<'a>(&self, room: &'a Room) -> &'a [f32] {
        self.signal_at(room, self.output)
    }

    /// The values of a signal.
    pub fn signal_at<'a>(&self, room: &'a Room, signal: usize) -> &'a [f32] {
        self.signal_in(&room.memory, &room.currents, signal)
    }

    /// The values of a signal, from the parts of its room.
    pub fn signal_in<'a>(&self, memory: &'a Option<Memory>, currents: &'a [Aligned], signal: usize) -> &'a [f32] {
        match (&self.neurons, memory) {
            (Some(neurons), Some(memory)) => neurons.kernel.signal(memory, signal),
            _ => &currents[0],
        }
    }

    /// Runs a segment of time; `input` is `[time * batch, inputs]`, `spikes` the same as bits, `carry` the states
    /// that a segment before it left.
    pub fn forward(
        &self,
        values: &[f32],
        (input, spikes): (&[f32], Option<&Spikes>),
        steps: usize,
        carry: Option<&[Aligned]>,
        room: &mut Room,
    ) {
        let blocks = self.blocks();
        for (block, current) in room.currents.iter_mut().enumerate() {
            match &self.dense {
                Some(dense) => dense.forward(block, values, input, spikes, current),
                None => copy_block(input, block, blocks, self.plan.size, current),
            }
        }
        let (Some(neurons), Some(memory)) = (&self.neurons, &mut room.memory) else { return };
        neurons.hold(values, &mut room.held);
        let params: Vec<&[f32]> = room.held.iter().map(Vec::as_slice).collect();
        neurons.kernel.begin(&params, carry, memory);
        if neurons.back.is_empty() {
            let inputs: Vec<&[f32]> = room.currents.iter().map(|list| &**list).collect();
            neurons.kernel.forward(&inputs, 0..steps, memory);
            return;
        }
        for t in 0..steps {
            neurons.project(values, t, memory, &mut room.projected);
            let inputs: Vec<&[f32]> = room.currents.iter().chain(&room.projected).map(|list| &**list).collect();
            neurons.kernel.forward(&inputs, t..t + 1, memory);
        }
    }

    /// A signal or state of the last forward pass that is not finite, in words.
    pub fn broken(&self, room: &Room) -> Option<String> {
        let signals = self.plan.signals.iter().enumerate();
        let signal = signals.map(|(i, name)| (name, self.signal_at(room, i))).find(|(_, values)| !is_finite(values));
        if let Some((name, _)) = signal {
            return Some(format!("`{}.{name}`", self.plan.name));
        }
        let (neurons, memory) = (self.neurons.as_ref()?, room.memory.as_ref()?);
        let mut states = neurons.kernel.states(memory);
        states.any(|values| !is_finite(values)).then(|| format!("a state of `{}`", self.plan.name))
    }

    /// Copies the states after the last step.
    pub fn carry(&self, room: &Room, to: &mut Vec<Aligned>) {
        if let (Some(neurons), Some(memory)) = (&self.neurons, &room.memory) {
            neurons.kernel.carry(memory, to);
        }
    }

    /// From the gradients of the signals to those of the currents and of the neurons' own parameters. `carry` are
    /// gradients of the states that come back from the segment after this one; none go over a step of `cuts`.
    pub fn backward_neurons(
        &self,
        [values, turned]: [&[f32]; 2],
        carry: Option<&[Aligned]>,
        cuts: Cuts,
        room: &mut Room,
        gradients: &mut [f32],
    ) {
        let (Some(neurons), Some(memory)) = (&self.neurons, &mut room.memory) else { return };
        let params: Vec<&[f32]> = room.held.iter().map(Vec::as_slice).collect();
        let inputs: Vec<&[f32]> = room.currents.iter().chain(&room.projected).map(|list| &**list).collect();
        let signals: Vec<Option<&[f32]>> = room.gradients.iter().map(Option::as_deref).collect();
        neurons.kernel.begin_backward(&params, carry, memory);
        let mut end = memory.shape().steps;
        while end > 0 {
            let from = if neurons.back.is_empty() { cuts.before(end) } else { end - 1 };
            neurons.kernel.backward(&inputs, &signals, from..end, memory);
            if !neurons.back.is_empty() {
                neurons.project_back([values, turned], from, self.blocks(), memory);
            }
            if cuts.at(from) {
                memory.state_gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
            }
            end = from;
        }
        neurons.add_projection_gradients(self.blocks(), memory, gradients);
        neurons.add_param_gradients(values, memory, gradients);
    }

    fn current_gradient<'a>(&self, room: &'a Room, block: usize) -> &'a [f32] {
        match (&room.memory, room.gradients.first()) {
            (Some(memory), _) => &memory.input_gradients[block],
            (None, Some(Some(gradient))) => gradient,
            (None, _) => &[],
        }
    }

    /// Adds to the gradients of the weights.
    pub fn add_dense_gradients(&self, (input, spikes): (&[f32], Option<&Spikes>), room: &Room, gradients: &mut [f32]) {
        let Some(dense) = &self.dense else { return };
        for block in 0..self.blocks() {
            dense.add_gradients(block, input, spikes, self.current_gradient(room, block), gradients);
        }
    }

    /// Adds the gradient of the input to what losses put there.
    pub fn backward_dense(&self, [values, turned]: [&[f32]; 2], room: &Room, to: &mut [f32]) {
        for block in 0..self.blocks() {
            let gradient = self.current_gradient(room, block);
            match &self.dense {
                Some(dense) => dense.backward(block, values, turned, gradient, to),
                None => add_block(gradient, block, self.blocks(), self.plan.size, to),
            }
        }
    }
}

/// The columns of a block of the input, where a layer has no weights.
fn copy_block(input: &[f32], block: usize, blocks: usize, size: usize, to: &mut [f32]) {
    for (row, to) in input.chunks_exact(blocks * size).zip(to.chunks_exact_mut(size)) {
        to.copy_from_slice(&row[block * size..(block + 1) * size]);
    }
}

fn add_block(gradient: &[f32], block: usize, blocks: usize, size: usize, to: &mut [f32]) {
    for (row, g) in to.chunks_exact_mut(blocks * size).zip(gradient.chunks_exact(size)) {
        row[block * size..(block + 1) * size].iter_mut().zip(g).for_each(|(to, g)| *to += g);
    }
}

impl NeuronStage {
    /// Parameters after clamping.
    fn hold(&self, values: &[f32], held: &mut Vec<Vec<f32>>) {
        held.resize_with(self.params.len(), Vec::new);
        for ((param, range), held) in self.program.params.iter().zip(&self.params).zip(held) {
            held.clear();
            held.extend_from_slice(&values[range.clone()]);
            if let Some((low, high)) = param.clamp {
                held.iter_mut().for_each(|value| *value = value.clamp(low as f32, high as f32));
            }
        }
    }

    /// Gives values to the projections of the states before step `t`.
    fn project(&self, values: &[f32], t: usize, memory: &Memory, projected: &mut [Aligned]) {
        let lanes = memory.shape().lanes();
        let mut first = 0;
        for ((projection, back), from) in self.program.projections.iter().zip(&self.back).zip(&self.from) {
            let state = &self.kernel.state(memory, *from)[t * lanes..(t + 1) * lanes];
            for (block, to) in projected[first..first + projection.to.len()].iter_mut().enumerate() {
                let to = &mut to[t * lanes..(t + 1) * lanes];
                match back {
                    Back::Dense(dense) => dense.forward(block, values, state, None, to),
                    Back::OneToOne(weight) => {
                        let weights = values[weight.clone()].iter().cycle();
                        to.iter_mut().zip(state).zip(weights).for_each(|((to, s), w)| *to = s * w);
                    }
                }
            }
            first += projection.to.len();
        }
    }

    /// Adds the gradients that go through the projections to those of the states before step `t`.
    fn project_back(&self, [values, turned]: [&[f32]; 2], t: usize, blocks: usize, memory: &mut Memory) {
        let lanes = memory.shape().lanes();
        let mut first = blocks;
        for ((projection, back), from) in self.program.projections.iter().zip(&self.back).zip(&self.from) {
            for block in 0..projection.to.len() {
                let gradient = &memory.input_gradients[first + block][t * lanes..(t + 1) * lanes];
                let to = &mut memory.state_gradients[*from];
                match back {
                    Back::Dense(dense) => dense.backward(block, values, turned, gradient, to),
                    Back::OneToOne(weight) => {
                        let weights = values[weight.clone()].iter().cycle();
                        to.iter_mut().zip(gradient).zip(weights).for_each(|((to, g), w)| *to += g * w);
                    }
                }
            }
            first += projection.to.len();
        }
    }

    fn add_projection_gradients(&self, blocks: usize, memory: &Memory, gradients: &mut [f32]) {
        let shape = memory.shape();
        let all = shape.steps * shape.lanes();
        let mut first = blocks;
        for ((projection, back), from) in self.program.projections.iter().zip(&self.back).zip(&self.from) {
            let before = &self.kernel.state(memory, *from)[..all];
            for block in 0..projection.to.len() {
                let gradient = &memory.input_gradients[first + block];
                match back {
                    Back::Dense(dense) => dense.add_gradients(block, before, None, gradient, gradients),
                    Back::OneToOne(weight) => {
                        let to = &mut gradients[weight.clone()];
                        let rows = before.chunks_exact(shape.neurons).zip(gradient.chunks_exact(shape.neurons));
                        for (state, g) in rows {
                            for (i, (s, g)) in state.iter().zip(g).enumerate() {
                                to[i % weight.len()] += s * g;
                            }
                        }
                    }
                }
            }
            first += projection.to.len();
        }
    }

    /// Beyond a clamp a parameter has no gradient.
    fn add_param_gradients(&self, values: &[f32], memory: &Memory, gradients: &mut [f32]) {
        for (learned, param) in self.kernel.learned().iter().enumerate() {
            let range = self.params[*param].clone();
            let to = &mut gradients[range.clone()];
            self.kernel.add_param_gradient(memory, learned, to);
            if let Some((low, high)) = self.program.params[*param].clamp {
                let inside = |value: f32| f64::from(value) >= low && f64::from(value) <= high;
                to.iter_mut().zip(&values[range]).filter(|(_, v)| !inside(**v)).for_each(|(to, _)| *to = 0.0);
            }
        }
    }
}
