//! Networks round the tape, on the processor: dense products and fused neuron kernels over flat buffers.
//!
//! The function is that of `nn::network` with the reference executor; only the order in which products are summed
//! differs. Weights are held transposed, a block for each input of the neurons, so that a product with spikes is a
//! sum of rows.

use super::layer::{LayerPlan, ParameterPlan};
use super::network::NetworkPlan;
use crate::data::Data;
use crate::neuron::Program;
use crate::neuron::fused::{Kernel, Memory, Shape};
use crate::tensor::product::{Spikes, View, add_column_sums, add_product, add_weighted_rows, dense, outer, transposed};
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

/// Dense weights in the flat buffers.
struct Dense {
    weight: Range<usize>,
    bias: Option<Range<usize>>,
    inputs: usize,
    outputs: usize,
}

impl Dense {
    fn weight(&self, block: usize) -> Range<usize> {
        let size = self.inputs * self.outputs;
        self.weight.start + block * size..self.weight.start + (block + 1) * size
    }

    fn bias(&self, block: usize) -> Option<Range<usize>> {
        let start = self.bias.as_ref()?.start + block * self.outputs;
        Some(start..start + self.outputs)
    }

    /// `out = x W^T + b` for a block; `x` is `[rows, inputs]`.
    fn forward(&self, block: usize, values: &[f32], x: &[f32], spikes: Option<&Spikes>, out: &mut [f32]) {
        let (weight, bias) = (&values[self.weight(block)], self.bias(block).map(|range| &values[range]));
        if self.inputs == 1 {
            return outer(x, weight, bias, out);
        }
        if let Some(spikes) = spikes {
            return spikes.times(weight, bias, out);
        }
        match bias {
            Some(bias) => out.chunks_exact_mut(self.outputs).for_each(|row| row.copy_from_slice(bias)),
            None => out.fill(0.0),
        }
        add_product(x, weight, self.inputs, self.outputs, out);
    }

    /// Turns the weights for [`Dense::backward`].
    fn turn(&self, blocks: usize, values: &[f32], turned: &mut [f32]) {
        if self.outputs > 1 {
            for block in 0..blocks {
                let range = self.weight(block);
                transposed(&values[range.clone()], self.inputs, self.outputs, &mut turned[range]);
            }
        }
    }

    /// Adds to the gradients of weights and bias of a block.
    fn add_gradients(&self, block: usize, x: &[f32], spikes: Option<&Spikes>, g: &[f32], gradients: &mut [f32]) {
        if let Some(bias) = self.bias(block) {
            add_column_sums(g, &mut gradients[bias]);
        }
        let weight = &mut gradients[self.weight(block)];
        match spikes {
            _ if self.inputs == 1 => add_weighted_rows(x, g, weight),
            _ if self.outputs == 1 => add_weighted_rows(g, x, weight),
            Some(spikes) => spikes.transposed_times(g, weight),
            None => {
                let rows = x.len() / self.inputs;
                let x = View { data: x, row: 1, column: self.inputs };
                dense(
                    weight,
                    [self.inputs, self.outputs, rows],
                    x,
                    View { data: g, row: self.outputs, column: 1 },
                    true,
                );
            }
        }
    }

    /// `out += g W`: the gradient of the input of a block.
    fn backward(&self, block: usize, values: &[f32], turned: &[f32], g: &[f32], out: &mut [f32]) {
        let range = self.weight(block);
        match self.outputs {
            1 => add_product(g, &values[range], 1, self.inputs, out),
            outputs => add_product(g, &turned[range], outputs, self.inputs, out),
        }
    }
}

/// A projection of a state back into its layer.
enum Back {
    Dense(Dense),
    OneToOne(Range<usize>),
}

/// A layer.
struct Stage {
    plan: LayerPlan,
    dense: Option<Dense>,
    neurons: Option<Neurons>,
    /// Which of its signals it hands on.
    output: usize,
    /// Whether that signal is made of spikes.
    spikes: bool,
}

struct Neurons {
    program: Program,
    kernel: Kernel,
    params: Vec<Range<usize>>,
    back: Vec<Back>,
    /// For each projection the state that it reads.
    from: Vec<usize>,
}

/// What a stage keeps for a batch size.
struct Room {
    memory: Option<Memory>,
    /// Input currents, `[time, lanes]` for each block.
    currents: Vec<Vec<f32>>,
    /// What projections give, `[time, lanes]` for each name.
    projected: Vec<Vec<f32>>,
    /// Gradients of the signals that have any.
    gradients: Vec<Option<Vec<f32>>>,
    /// Spikes of its output.
    spikes: Spikes,
    sparse: bool,
    /// Parameters after clamping.
    held: Vec<Vec<f32>>,
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
        let stages = stages.map(|(i, (layer, form))| stage(layer, form, &parts, losses, i == last)).collect();
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

fn stage(layer: &LayerPlan, form: Form, parts: &[Part], losses: &[String], last: bool) -> Stage {
    let part = |name: &str| {
        let path = format!("{}.{name}", layer.name);
        parts.iter().find(|part| part.path == path)
    };
    let dense_of = |name: &str, inputs: usize| {
        let weight = part(&format!("{name}weight"))?;
        let bias = part(&format!("{name}bias")).map(Part::range);
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
            let params = program.params.iter().filter_map(|p| part(&p.name).map(Part::range)).collect();
            let back = program.projections.iter().filter_map(|projection| {
                let name = format!("{}.", projection.name);
                if projection.dense {
                    dense_of(&name, layer.size).map(Back::Dense)
                } else {
                    part(&format!("{name}weight")).map(|part| Back::OneToOne(part.range()))
                }
            });
            let state = |name: &str| program.states.iter().position(|(state, _)| state == name).unwrap_or(0);
            Some(Neurons {
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

impl Room {
    fn spikes(&self) -> Option<&Spikes> {
        self.sparse.then_some(&self.spikes)
    }
}

impl Stage {
    fn blocks(&self) -> usize {
        self.neurons.as_ref().map_or(1, |neurons| neurons.program.inputs.len())
    }

    fn room(&self, batch: &Data) -> Room {
        let shape = Shape { steps: batch.steps, batch: batch.samples, neurons: self.plan.size };
        let all = shape.steps * shape.lanes();
        let graded = |i: usize| match &self.neurons {
            Some(neurons) => neurons.kernel.is_graded(i),
            None => true,
        };
        let names = self.neurons.iter().flat_map(|neurons| &neurons.program.projections).map(|p| p.to.len()).sum();
        Room {
            memory: self.neurons.as_ref().map(|neurons| neurons.kernel.memory(shape)),
            currents: vec![vec![0.0; all]; self.blocks()],
            projected: vec![vec![0.0; all]; names],
            gradients: (0..self.plan.signals.len()).map(|i| graded(i).then(|| vec![0.0; all])).collect(),
            spikes: Spikes::default(),
            sparse: false,
            held: Vec::new(),
        }
    }

    fn signal<'a>(&self, room: &'a Room) -> &'a [f32] {
        self.signal_at(room, self.output)
    }

    fn signal_at<'a>(&self, room: &'a Room, signal: usize) -> &'a [f32] {
        self.signal_in(&room.memory, &room.currents, signal)
    }

    fn signal_in<'a>(&self, memory: &'a Option<Memory>, currents: &'a [Vec<f32>], signal: usize) -> &'a [f32] {
        match (&self.neurons, memory) {
            (Some(neurons), Some(memory)) => neurons.kernel.signal(memory, signal),
            _ => &currents[0],
        }
    }

    fn forward(&self, values: &[f32], input: &[f32], spikes: Option<&Spikes>, batch: &Data, room: &mut Room) {
        let blocks = self.blocks();
        for (block, current) in room.currents.iter_mut().enumerate() {
            match &self.dense {
                Some(dense) => dense.forward(block, values, input, spikes, current),
                None => copy_block(input, block, blocks, self.plan.size, current),
            }
        }
        let (Some(neurons), Some(memory)) = (&self.neurons, &mut room.memory) else { return };
        neurons.hold(values, &mut room.held);
        neurons.kernel.begin(memory);
        let params: Vec<&[f32]> = room.held.iter().map(Vec::as_slice).collect();
        if neurons.back.is_empty() {
            let inputs: Vec<&[f32]> = room.currents.iter().map(Vec::as_slice).collect();
            neurons.kernel.forward(&params, &inputs, 0..batch.steps, memory);
            return;
        }
        for t in 0..batch.steps {
            neurons.project(values, t, memory, &mut room.projected);
            let inputs: Vec<&[f32]> = room.currents.iter().chain(&room.projected).map(Vec::as_slice).collect();
            neurons.kernel.forward(&params, &inputs, t..t + 1, memory);
        }
    }

    /// From the gradients of the signals to those of the currents and of the neurons' own parameters.
    fn backward_neurons(&self, values: &[f32], turned: &[f32], room: &mut Room, gradients: &mut [f32]) {
        let (Some(neurons), Some(memory)) = (&self.neurons, &mut room.memory) else { return };
        let params: Vec<&[f32]> = room.held.iter().map(Vec::as_slice).collect();
        let inputs: Vec<&[f32]> = room.currents.iter().chain(&room.projected).map(Vec::as_slice).collect();
        let signals: Vec<Option<&[f32]>> = room.gradients.iter().map(Option::as_deref).collect();
        neurons.kernel.begin_backward(memory);
        let steps = memory.shape().steps;
        if neurons.back.is_empty() {
            neurons.kernel.backward(&params, &inputs, &signals, 0..steps, memory);
        } else {
            for t in (0..steps).rev() {
                neurons.kernel.backward(&params, &inputs, &signals, t..t + 1, memory);
                neurons.project_back([values, turned], t, self.blocks(), memory);
            }
            neurons.add_projection_gradients(self.blocks(), memory, gradients);
        }
        neurons.add_param_gradients(values, memory, gradients);
    }

    fn current_gradient<'a>(&self, room: &'a Room, block: usize) -> &'a [f32] {
        match (&room.memory, room.gradients.first()) {
            (Some(memory), _) => &memory.input_gradients[block],
            (None, Some(Some(gradient))) => gradient,
            (None, _) => &[],
        }
    }

    fn add_dense_gradients(&self, input: &[f32], spikes: Option<&Spikes>, room: &Room, gradients: &mut [f32]) {
        let Some(dense) = &self.dense else { return };
        for block in 0..self.blocks() {
            dense.add_gradients(block, input, spikes, self.current_gradient(room, block), gradients);
        }
    }

    /// Adds the gradient of the input to what losses put there.
    fn backward_dense(&self, values: &[f32], turned: &[f32], room: &Room, to: &mut [f32]) {
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

impl Neurons {
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
    fn project(&self, values: &[f32], t: usize, memory: &Memory, projected: &mut [Vec<f32>]) {
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
