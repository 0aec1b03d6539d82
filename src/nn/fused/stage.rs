//! A layer of a fused network: dense weights, neurons with their projections, and what they keep of a pass.

use super::cuts::Cuts;
use super::dense::{Dense, Input, SpikeBits};
use super::late::Late;
use super::{FlatPart, Form};
use crate::data::DataView;
use crate::neuron::StepProgram;
use crate::neuron::fused::{Kernel, Memory, Shape};
use crate::nn::{LayerPlan, NetworkPlan};
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

/// A layer.
pub struct Stage {
    /// Its plan.
    pub plan: LayerPlan,
    /// What it reads.
    pub sources: Vec<StageSource>,
    /// Its neurons, if it has any.
    pub neurons: Option<NeuronStage>,
    /// Signals of spikes that others read.
    read_spikes: Vec<usize>,
}

/// A source of a layer.
pub struct StageSource {
    /// The layer, by its place in the order of the pass, and its signal; none for the data.
    pub from: Option<(usize, usize)>,
    /// Its weights, if it has any.
    pub dense: Option<Dense>,
    delay: usize,
    width: usize,
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
    /// Each signal of spikes that others read, as bits.
    bits: Vec<(usize, SpikeBits)>,
    /// Each source that comes later.
    late: Vec<Late>,
    /// What a source brings that is added to others, `[time, lanes]`.
    extra: Aligned,
    /// Parameters after clamping.
    held: Vec<Vec<f32>>,
}

impl Room {
    /// A signal as bits, where sums of rows pay.
    pub fn bits(&self, signal: usize) -> Option<&Spikes> {
        self.bits.iter().find(|(other, _)| *other == signal)?.1.sparse()
    }

    /// Gradients that go back to an earlier segment of time: of the states, then of the last steps of late sources.
    pub fn state_gradients(&self) -> Vec<Aligned> {
        let states = self.memory.iter().flat_map(|memory| &memory.state_gradients);
        states.chain(self.late.iter().map(|late| &late.tail_gradient)).cloned().collect()
    }
}

impl Stage {
    /// Plans the layer at a place of a network.
    pub fn new(network: &NetworkPlan, at: usize, form: &Form, parts: &[FlatPart], losses: &[String]) -> Stage {
        let layer = &network.layers[at];
        let part = |name: &str| {
            let path = format!("{}.{name}", layer.name);
            parts.iter().find(|part| part.path == path)
        };
        let dense_of = |name: &str, inputs: usize| {
            let weight = part(&format!("{name}weight"))?;
            let bias = part(&format!("{name}bias")).map(FlatPart::range);
            Some(Dense { weight: weight.range(), bias, inputs, outputs: layer.size })
        };
        let graded: Vec<bool> = (layer.signals.iter().enumerate())
            .map(|(i, signal)| network.is_read(at, i) || losses.contains(&format!("{}.{signal}", layer.name)))
            .collect();
        let neurons = match form {
            Form::Dense => None,
            Form::Neurons(program) => {
                let program = program.clone();
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
        let are_spikes = |i: usize| neurons.as_ref().is_some_and(|neurons: &NeuronStage| neurons.kernel.is_spikes(i));
        let read_spikes = (0..layer.signals.len()).filter(|i| network.is_read(at, *i) && are_spikes(*i)).collect();
        let place = |layer: usize| network.order.iter().position(|other| *other == layer).unwrap_or(0);
        let sources = layer.sources.iter().enumerate().map(|(i, source)| {
            let dense = part(&source.weight).filter(|_| layer.weighted).map(|weight| Dense {
                weight: weight.range(),
                bias: part("bias").filter(|_| i == 0).map(FlatPart::range),
                inputs: source.width,
                outputs: layer.size,
            });
            let from = source.from.map(|(layer, signal)| (place(layer), signal));
            StageSource { from, dense, delay: source.delay, width: source.width }
        });
        Stage { plan: layer.clone(), sources: sources.collect(), neurons, read_spikes }
    }

    /// Inputs of a neuron, each with a block of weights.
    pub fn blocks(&self) -> usize {
        self.neurons.as_ref().map_or(1, |neurons| neurons.program.inputs.len())
    }

    fn late_sources(&self) -> impl Iterator<Item = &StageSource> {
        self.sources.iter().filter(|source| source.delay > 0)
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
            bits: self.read_spikes.iter().map(|signal| (*signal, SpikeBits::default())).collect(),
            late: self.late_sources().map(|source| Late::new(source.width, source.delay, batch)).collect(),
            extra: Aligned::zeros(if self.plan.weighted && self.sources.len() > 1 { all } else { 0 }),
            held: Vec::new(),
        }
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

    /// Runs a segment of time; `inputs` is what each source brings, `carry` what a segment before it left.
    pub fn forward<'a>(
        &self,
        values: &[f32],
        inputs: &dyn Fn(&StageSource) -> Input<'a>,
        steps: usize,
        carry: Option<&[Aligned]>,
        room: &mut Room,
    ) {
        let tails = carry.map(|carry| &carry[carry.len() - room.late.len()..]);
        for (i, (late, source)) in room.late.iter_mut().zip(self.late_sources()).enumerate() {
            late.read(inputs(source), tails.map(|tails| &*tails[i]));
        }
        let blocks = self.blocks();
        let Room { currents, late, extra, .. } = &mut *room;
        for (block, current) in currents.iter_mut().enumerate() {
            for (i, (source, input)) in self.sources.iter().zip(self.arriving(inputs, late)).enumerate() {
                match &source.dense {
                    Some(dense) if i == 0 => dense.forward(block, values, input, current),
                    Some(dense) => dense.add_forward(block, values, input, extra, current),
                    None if i == 0 => copy_block(input.values, block, blocks, self.plan.size, current),
                    None => sum_block(input.values, block, blocks, self.plan.size, current),
                }
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

    /// What comes in from each source, late ones as they arrive.
    fn arriving<'a: 'b, 'b>(
        &'b self,
        inputs: &'b dyn Fn(&StageSource) -> Input<'a>,
        late: &'b [Late],
    ) -> impl Iterator<Item = Input<'b>> {
        let mut late = late.iter();
        self.sources.iter().map(move |source| match source.delay {
            0 => inputs(source),
            _ => late.next().map_or_else(|| inputs(source), Late::input),
        })
    }

    /// Reads the spikes of the last forward pass that others read.
    pub fn read_bits(&self, room: &mut Room) {
        let mut all = std::mem::take(&mut room.bits);
        for (signal, bits) in &mut all {
            bits.read(self.signal_at(room, *signal), self.plan.size);
        }
        room.bits = all;
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

    /// Copies the states after the last step, and the last steps of late sources.
    pub fn carry(&self, room: &Room, to: &mut Vec<Aligned>) {
        match (&self.neurons, &room.memory) {
            (Some(neurons), Some(memory)) => neurons.kernel.carry(memory, to),
            _ => to.clear(),
        }
        to.extend(room.late.iter().map(|late| late.next_tail.clone()));
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
    pub fn add_dense_gradients<'a>(
        &self,
        inputs: &dyn Fn(&StageSource) -> Input<'a>,
        room: &Room,
        gradients: &mut [f32],
    ) {
        for (source, input) in self.sources.iter().zip(self.arriving(inputs, &room.late)) {
            let Some(dense) = &source.dense else { continue };
            for block in 0..self.blocks() {
                dense.add_gradients(block, input.values, input.spikes, self.current_gradient(room, block), gradients);
            }
        }
    }

    /// Adds the gradient of a source's signal to what losses and other layers put there. `carry` are gradients that come
    /// back from the segment after this one; none go over a step of `cuts`.
    pub fn backward_source(
        &self,
        place: usize,
        weights: [&[f32]; 2],
        carry: Option<&[Aligned]>,
        cuts: Cuts,
        room: &mut Room,
        to: &mut [f32],
    ) {
        let source = &self.sources[place];
        if source.delay == 0 {
            return self.add_source_gradient(source, weights, room, to);
        }
        let i = self.sources[..place].iter().filter(|source| source.delay > 0).count();
        let tails = carry.map(|carry| &carry[carry.len() - room.late.len()..]);
        let mut gradient = std::mem::take(&mut room.late[i].gradient);
        gradient.fill(0.0);
        self.add_source_gradient(source, weights, room, &mut gradient);
        room.late[i].gradient = gradient;
        room.late[i].backward(cuts, tails.map(|tails| &*tails[i]), to);
    }

    /// Adds the gradient of what comes in from a source.
    fn add_source_gradient(&self, source: &StageSource, [values, turned]: [&[f32]; 2], room: &Room, to: &mut [f32]) {
        for block in 0..self.blocks() {
            let gradient = self.current_gradient(room, block);
            match &source.dense {
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

/// Adds the columns of a block of another input.
fn sum_block(input: &[f32], block: usize, blocks: usize, size: usize, to: &mut [f32]) {
    for (row, to) in input.chunks_exact(blocks * size).zip(to.chunks_exact_mut(size)) {
        to.iter_mut().zip(&row[block * size..(block + 1) * size]).for_each(|(to, x)| *to += x);
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
                    Back::Dense(dense) => dense.forward(block, values, Input { values: state, spikes: None }, to),
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
