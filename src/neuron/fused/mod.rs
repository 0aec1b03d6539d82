//! Fused executor: one pass over time forward and one exact pass back for a whole neuron layer, on the processor.
//!
//! A program's step becomes a graph (`graph`), its parts instructions over tiles of lanes (`code`); lanes are batch
//! times neurons. Only states and signals are kept over time; the reverse pass computes the rest again. `reference`
//! defines what is right.
//! Source of the reverse pass: Neftci, Mostafa & Zenke 2019, IEEE Signal Processing Magazine 36(6), 51-63.

mod code;
mod graph;
mod interpret;
#[cfg(target_arch = "x86_64")]
mod jit;
mod machine;

use super::program::StepProgram;
use crate::tensor::Aligned;
use code::{Code, Operand, TILE};
use graph::{Graph, Op};
use interpret::{Backward, Forward, Window};
use machine::{Sizes, StepMachine};

/// A program compiled for given learned parameters and signals that gradients come to.
#[derive(Debug)]
pub struct Kernel {
    forward: Code,
    backward: Code,
    /// The same as machine code, where that can be made.
    machine: StepMachine,
    /// Where each signal is: in a state, or in a buffer of its own.
    signals: Vec<SignalPlace>,
    states: Vec<f32>,
    /// Which signals are made of spikes.
    spikes: Vec<bool>,
    /// Which signals gradients come to.
    graded: Vec<bool>,
    params: usize,
    /// Parameters whose gradients are computed, in their order.
    learned: Vec<usize>,
    inputs: usize,
}

/// Where a signal lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalPlace {
    State(usize),
    Own(usize),
}

/// The sizes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Time steps.
    pub steps: usize,
    /// Samples.
    pub batch: usize,
    /// Neurons.
    pub neurons: usize,
}

impl Shape {
    /// Lanes of a time step.
    pub fn lanes(&self) -> usize {
        self.batch * self.neurons
    }
}

/// What a layer keeps of a forward pass, and the room for its gradients.
#[derive(Debug)]
pub struct Memory {
    shape: Shape,
    /// Registers of every tile.
    registers: Aligned,
    /// States, `[time + 1, lanes]` each.
    states: Vec<Aligned>,
    /// Signals that are no states, `[time, lanes]` each.
    own: Vec<Aligned>,
    /// Gradients of the inputs, `[time, lanes]` each.
    pub input_gradients: Vec<Aligned>,
    /// Gradients of the states, `[lanes]` each.
    pub state_gradients: Vec<Aligned>,
    /// Gradients of the learned parameters for each lane.
    lane_gradients: Vec<Aligned>,
}

impl Memory {
    /// The sizes it is for.
    pub fn shape(&self) -> Shape {
        self.shape
    }
}

impl Kernel {
    /// Compiles a program. `learned` says which parameters get gradients, `graded` which signals gradients come to.
    pub fn new(program: &StepProgram, learned: &[bool], graded: &[bool]) -> Kernel {
        let projected = program.projections.iter().flat_map(|projection| projection.to.iter().cloned());
        let inputs: Vec<String> = program.inputs.iter().cloned().chain(projected).collect();
        let mut graph = Graph::forward(program, &inputs);
        let mut roots = graph.states.clone();
        let mut signals = Vec::new();
        for node in graph.signals.clone() {
            signals.push(match graph.states.iter().position(|state| *state == node) {
                Some(state) => SignalPlace::State(state),
                None => {
                    roots.push(node);
                    SignalPlace::Own(roots.len() - 1 - graph.states.len())
                }
            });
        }
        let spikes = graph.signals.iter().map(|node| matches!(graph.ops[*node], Op::Spike(_))).collect();
        let forward = Code::new(&graph, &roots, &[]);
        let known: Vec<_> = graph.states.iter().enumerate().map(|(i, node)| (*node, Operand::State(i))).collect();
        let reverse = graph.reverse(program, inputs.len(), graded);
        let learned: Vec<usize> = (0..program.params.len()).filter(|i| learned[*i]).collect();
        // A gradient that is only handed on is copied, so that no register is overwritten before it was read.
        let previous = reverse.previous.iter().map(|node| graph.copied(*node)).collect();
        let mut roots = [previous, reverse.inputs].concat();
        roots.extend(learned.iter().map(|i| reverse.params[*i]));
        let backward = Code::new(&graph, &roots, &known);
        let sizes = Sizes { inputs: inputs.len(), states: program.states.len(), signals: graded.len() };
        Kernel {
            machine: StepMachine::new(&forward, &backward, sizes),
            forward,
            backward,
            signals,
            states: program.states.iter().map(|(_, start)| *start as f32).collect(),
            spikes,
            graded: graded.to_vec(),
            params: program.params.len(),
            learned,
            inputs: inputs.len(),
        }
    }

    /// Whether a signal is made of zeros and ones.
    pub fn is_spikes(&self, signal: usize) -> bool {
        self.spikes[signal]
    }

    /// Whether gradients come to a signal.
    pub fn is_graded(&self, signal: usize) -> bool {
        self.graded[signal]
    }

    /// Room for runs of a shape.
    pub fn memory(&self, shape: Shape) -> Memory {
        let (lanes, all) = (shape.lanes(), shape.steps * shape.lanes());
        let own = self.signals.iter().filter(|place| matches!(place, SignalPlace::Own(_))).count();
        let registers = self.forward.registers().max(self.backward.registers());
        Memory {
            shape,
            registers: Aligned::zeros(lanes.div_ceil(TILE) * registers * TILE),
            states: self.states.iter().map(|_| Aligned::zeros(all + lanes)).collect(),
            own: vec![Aligned::zeros(all); own],
            input_gradients: vec![Aligned::zeros(all); self.inputs],
            state_gradients: self.states.iter().map(|_| Aligned::zeros(lanes)).collect(),
            lane_gradients: vec![Aligned::zeros(lanes); self.learned.len()],
        }
    }

    /// The values of a signal after a forward pass, `[time, batch, neurons]`.
    pub fn signal<'a>(&self, memory: &'a Memory, signal: usize) -> &'a [f32] {
        match self.signals[signal] {
            SignalPlace::State(i) => &memory.states[i][memory.shape.lanes()..],
            SignalPlace::Own(i) => &memory.own[i],
        }
    }

    /// A state after each step, `[time + 1, lanes]`, the first row being where it began.
    pub fn state<'a>(&self, memory: &'a Memory, state: usize) -> &'a [f32] {
        &memory.states[state]
    }

    /// Every state after each step, in the order of the program.
    pub fn states<'a>(&self, memory: &'a Memory) -> impl Iterator<Item = &'a [f32]> {
        memory.states.iter().map(|state| &**state)
    }

    /// Begins a forward pass with some parameters, one value, or one a neuron, each. The states begin where an earlier
    /// segment of time left them, or else where the model says.
    pub fn begin(&self, params: &[&[f32]], carry: Option<&[Aligned]>, memory: &mut Memory) {
        let lanes = memory.shape.lanes();
        for (i, (state, start)) in memory.states.iter_mut().zip(&self.states).enumerate() {
            match carry {
                Some(carry) => state[..lanes].copy_from_slice(&carry[i]),
                None => state[..lanes].fill(*start),
            }
        }
        self.begin_tiles(&self.forward, params, memory);
    }

    /// Begins a backward pass with the parameters of the forward pass. Gradients of the states are what came back from
    /// a later segment, or else zero, and all sums are zero.
    pub fn begin_backward(&self, params: &[&[f32]], carry: Option<&[Aligned]>, memory: &mut Memory) {
        memory.lane_gradients.iter_mut().for_each(|sum| sum.fill(0.0));
        for (i, gradient) in memory.state_gradients.iter_mut().enumerate() {
            match carry {
                Some(carry) => gradient.copy_from_slice(&carry[i]),
                None => gradient.fill(0.0),
            }
        }
        self.begin_tiles(&self.backward, params, memory);
    }

    fn begin_tiles(&self, code: &Code, params: &[&[f32]], memory: &mut Memory) {
        debug_assert_eq!(params.len(), self.params);
        let lanes = memory.shape.lanes();
        let size = memory.registers.len() / lanes.div_ceil(TILE).max(1);
        for (tile, registers) in memory.registers.chunks_exact_mut(size.max(1)).enumerate() {
            let lane = tile * TILE;
            code.begin(registers, TILE.min(lanes - lane), &mut |i, to| spread(params[i], lane, to));
        }
    }

    /// Copies the states after the last step.
    pub fn carry(&self, memory: &Memory, to: &mut Vec<Aligned>) {
        let all = memory.shape.steps * memory.shape.lanes();
        to.resize_with(memory.states.len(), Aligned::default);
        for (to, state) in to.iter_mut().zip(&memory.states) {
            to.reset(memory.shape.lanes());
            to.copy_from_slice(&state[all..]);
        }
    }

    /// Runs steps forward; `inputs` are `[time, lanes]` each.
    pub fn forward(&self, inputs: &[&[f32]], steps: std::ops::Range<usize>, memory: &mut Memory) {
        let Memory { shape, registers, states, own, .. } = memory;
        debug_assert_eq!(inputs.len(), self.inputs);
        for (window, registers) in tiles(*shape, steps, registers) {
            let mut memory = Forward { inputs, states: &mut *states, signals: &mut *own };
            if !self.machine.forward(registers, window, &mut memory) {
                interpret::forward(&self.forward, registers, window, &mut memory);
            }
        }
    }

    /// Runs steps backward, from the gradients of the signals and of the states after them.
    pub fn backward(
        &self,
        inputs: &[&[f32]],
        signals: &[Option<&[f32]>],
        steps: std::ops::Range<usize>,
        memory: &mut Memory,
    ) {
        let Memory { shape, registers, states, input_gradients, state_gradients, lane_gradients, .. } = memory;
        for (window, registers) in tiles(*shape, steps, registers) {
            let mut memory = Backward {
                inputs,
                states,
                signals,
                input_gradients: &mut *input_gradients,
                state_gradients: &mut *state_gradients,
                param_gradients: &mut *lane_gradients,
            };
            if !self.machine.backward(registers, window, &mut memory) {
                interpret::backward(&self.backward, registers, window, &mut memory);
            }
        }
    }

    /// Parameters that have gradients.
    pub fn learned(&self) -> &[usize] {
        &self.learned
    }

    /// Adds the gradient of a learned parameter (by its place in [`Kernel::learned`]), one value or one a neuron.
    pub fn add_param_gradient(&self, memory: &Memory, learned: usize, to: &mut [f32]) {
        let sums = &memory.lane_gradients[learned];
        match to {
            [one] => *one += sums.iter().sum::<f32>(),
            _ => sums.chunks(to.len()).for_each(|row| to.iter_mut().zip(row).for_each(|(to, g)| *to += g)),
        }
    }
}

/// Tiles of all lanes with their registers.
fn tiles(
    shape: Shape,
    steps: std::ops::Range<usize>,
    registers: &mut [f32],
) -> impl Iterator<Item = (Window, &mut [f32])> {
    let lanes = shape.lanes();
    let size = registers.len() / lanes.div_ceil(TILE).max(1);
    registers.chunks_exact_mut(size.max(1)).enumerate().map(move |(tile, registers)| {
        let lane = tile * TILE;
        let window = Window { lane, lanes: TILE.min(lanes - lane), stride: lanes, from: steps.start, to: steps.end };
        (window, registers)
    })
}

/// The values of a parameter for the lanes from `lane` on.
fn spread(values: &[f32], lane: usize, mut to: &mut [f32]) {
    let mut neuron = lane % values.len();
    while !to.is_empty() {
        let (row, rest) = to.split_at_mut(to.len().min(values.len() - neuron));
        row.copy_from_slice(&values[neuron..neuron + row.len()]);
        (to, neuron) = (rest, 0);
    }
}
