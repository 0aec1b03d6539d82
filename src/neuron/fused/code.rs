//! A part of a graph as instructions over registers, and what runs them: each instruction works on a tile of lanes
//! that stays in the first-level cache. Compiled for several vector units, of which the machine's best is taken.

use super::graph::{Binary, Graph, Node, Op, Unary};
use multiversion::multiversion;

/// Lanes of a tile.
pub const TILE: usize = 128;
/// Lanes that are worked on at once; a tile's last ones are padded to it.
const LANES: usize = 16;

/// Where a register gets its values from before each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An input.
    Input(usize),
    /// A state of the step before.
    Previous(usize),
    /// A state of this step, as the forward pass left it.
    State(usize),
    /// The gradient of a signal.
    SignalGradient(usize),
}

/// An instruction; its result's register is above those it reads.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    operation: Operation,
    a: u16,
    b: u16,
    c: u16,
    to: u16,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Unary(Unary),
    Binary(Binary),
    MulAdd,
    MulSub,
    Select,
}

/// Instructions of a step with the registers around them.
#[derive(Debug, Default)]
pub struct Code {
    constants: Vec<(u16, f32)>,
    /// Register of each parameter that is read.
    params: Vec<(u16, usize)>,
    /// Registers that are filled before each step.
    pub loads: Vec<(u16, Source)>,
    /// Register of the gradient of each state that comes back from the next step.
    state_gradients: Vec<(u16, usize)>,
    instructions: Vec<Instruction>,
    /// Registers of the results, in the order of the roots; none for a constant 0.
    pub results: Vec<Option<u16>>,
    registers: usize,
}

impl Code {
    /// Instructions for some results. `known` are operations whose values were kept and are loaded, not computed.
    pub fn new(graph: &Graph, roots: &[Node], known: &[(Node, Source)]) -> Code {
        let mut needed = vec![false; graph.ops.len()];
        let mut open: Vec<Node> = roots.to_vec();
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut needed[node], true) && !known.iter().any(|(n, _)| *n == node) {
                open.extend(operands(graph.ops[node]));
            }
        }
        let mut code = Code::default();
        let mut register = vec![u16::MAX; graph.ops.len()];
        for leaves in [true, false] {
            for node in (0..graph.ops.len()).filter(|&node| needed[node]) {
                let source = known.iter().find(|(n, _)| *n == node).map(|(_, source)| *source);
                if leaves == (source.is_some() || operands(graph.ops[node]).is_empty()) {
                    register[node] = code.place(graph.ops[node], source, &register);
                }
            }
        }
        let zero = |node: Node| graph.ops[node] == Op::Constant(0.0_f32.to_bits());
        code.results = roots.iter().map(|&node| (!zero(node)).then_some(register[node])).collect();
        code
    }

    fn place(&mut self, op: Op, source: Option<Source>, register: &[u16]) -> u16 {
        let to = self.registers as u16;
        let mut instruction = |operation, [a, b, c]: [Node; 3]| {
            self.instructions.push(Instruction { operation, a: register[a], b: register[b], c: register[c], to });
        };
        match (source, op) {
            (Some(source), _) => self.loads.push((to, source)),
            (None, Op::Constant(bits)) => self.constants.push((to, f32::from_bits(bits))),
            (None, Op::Input(i)) => self.loads.push((to, Source::Input(i))),
            (None, Op::Param(i)) => self.params.push((to, i)),
            (None, Op::Previous(i)) => self.loads.push((to, Source::Previous(i))),
            (None, Op::StateGradient(i)) => self.state_gradients.push((to, i)),
            (None, Op::SignalGradient(i)) => self.loads.push((to, Source::SignalGradient(i))),
            // A name for the same value.
            (None, Op::Detach(x)) => return register[x],
            (None, Op::Spike(x)) => instruction(Operation::Unary(Unary::Heaviside), [x, x, x]),
            (None, Op::Unary(unary, x)) => instruction(Operation::Unary(unary), [x, x, x]),
            (None, Op::Binary(binary, a, b)) => instruction(Operation::Binary(binary), [a, b, b]),
            (None, Op::MulAdd(a, b, c)) => instruction(Operation::MulAdd, [a, b, c]),
            (None, Op::MulSub(a, b, c)) => instruction(Operation::MulSub, [a, b, c]),
            (None, Op::Select(a, b, c)) => instruction(Operation::Select, [a, b, c]),
        }
        self.registers += 1;
        to
    }

    /// How many registers a tile needs.
    pub fn registers(&self) -> usize {
        self.registers
    }

    /// Fills the registers that stay the same over time; `param(i)` gives the values of a parameter for the lanes.
    pub fn begin(&self, registers: &mut [f32], lanes: usize, param: &mut dyn FnMut(usize, &mut [f32])) {
        for (register, value) in &self.constants {
            tile(registers, *register).fill(*value);
        }
        for (register, i) in &self.params {
            param(*i, &mut tile(registers, *register)[..lanes]);
        }
    }

    /// The register of the gradient that comes back to each state.
    pub fn state_gradients(&self) -> &[(u16, usize)] {
        &self.state_gradients
    }

    /// Runs the instructions on the first `lanes` lanes of a tile.
    #[inline(always)]
    fn run(&self, registers: &mut [f32], lanes: usize) {
        let lanes = lanes.next_multiple_of(LANES);
        for instruction in &self.instructions {
            let (below, result) = registers.split_at_mut(usize::from(instruction.to) * TILE);
            let read = |register: u16| &below[usize::from(register) * TILE..][..lanes];
            let (a, b, c) = (read(instruction.a), read(instruction.b), read(instruction.c));
            execute(instruction.operation, a, b, c, &mut result[..lanes]);
        }
    }
}

/// The lanes of a register.
pub fn tile(registers: &mut [f32], register: u16) -> &mut [f32] {
    &mut registers[usize::from(register) * TILE..][..TILE]
}

fn operands(op: Op) -> Vec<Node> {
    match op {
        Op::Constant(_)
        | Op::Input(_)
        | Op::Param(_)
        | Op::Previous(_)
        | Op::StateGradient(_)
        | Op::SignalGradient(_) => Vec::new(),
        Op::Detach(x) | Op::Spike(x) | Op::Unary(_, x) => vec![x],
        Op::Binary(_, a, b) => vec![a, b],
        Op::MulAdd(a, b, c) | Op::MulSub(a, b, c) | Op::Select(a, b, c) => vec![a, b, c],
    }
}

#[inline(always)]
fn execute(operation: Operation, a: &[f32], b: &[f32], c: &[f32], to: &mut [f32]) {
    match operation {
        Operation::MulAdd => three(a, b, c, to, |a, b, c| a.mul_add(b, c)),
        Operation::MulSub => three(a, b, c, to, |a, b, c| (-a).mul_add(b, c)),
        Operation::Select => three(a, b, c, to, |a, b, c| if a != 0.0 { b } else { c }),
        Operation::Unary(unary) => match unary {
            Unary::Negate => one(a, to, |x| Unary::Negate.apply(x)),
            Unary::Abs => one(a, to, |x| Unary::Abs.apply(x)),
            Unary::Exp => one(a, to, |x| Unary::Exp.apply(x)),
            Unary::Log => one(a, to, |x| Unary::Log.apply(x)),
            Unary::Sqrt => one(a, to, |x| Unary::Sqrt.apply(x)),
            Unary::Tanh => one(a, to, |x| Unary::Tanh.apply(x)),
            Unary::Sin => one(a, to, |x| Unary::Sin.apply(x)),
            Unary::Cos => one(a, to, |x| Unary::Cos.apply(x)),
            Unary::Sigmoid => one(a, to, |x| Unary::Sigmoid.apply(x)),
            Unary::Sign => one(a, to, |x| Unary::Sign.apply(x)),
            Unary::Floor => one(a, to, |x| Unary::Floor.apply(x)),
            Unary::Heaviside => one(a, to, |x| Unary::Heaviside.apply(x)),
        },
        Operation::Binary(binary) => match binary {
            Binary::Add => two(a, b, to, |a, b| Binary::Add.apply(a, b)),
            Binary::Sub => two(a, b, to, |a, b| Binary::Sub.apply(a, b)),
            Binary::Mul => two(a, b, to, |a, b| Binary::Mul.apply(a, b)),
            Binary::Div => two(a, b, to, |a, b| Binary::Div.apply(a, b)),
            Binary::Pow => two(a, b, to, |a, b| Binary::Pow.apply(a, b)),
            Binary::Min => two(a, b, to, |a, b| Binary::Min.apply(a, b)),
            Binary::Max => two(a, b, to, |a, b| Binary::Max.apply(a, b)),
            Binary::Less => two(a, b, to, |a, b| Binary::Less.apply(a, b)),
            Binary::LessEqual => two(a, b, to, |a, b| Binary::LessEqual.apply(a, b)),
            Binary::Equal => two(a, b, to, |a, b| Binary::Equal.apply(a, b)),
            Binary::NotEqual => two(a, b, to, |a, b| Binary::NotEqual.apply(a, b)),
        },
    }
}

/// Copies values; whole tiles, which nearly all are, without a call.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    match (<&[f32; TILE]>::try_from(from), to.first_chunk_mut::<TILE>()) {
        (Ok(from), Some(to)) => *to = *from,
        _ => to[..from.len()].copy_from_slice(from),
    }
}

#[inline(always)]
fn one(a: &[f32], to: &mut [f32], f: impl Fn(f32) -> f32) {
    for (to, a) in to.chunks_exact_mut(LANES).zip(a.chunks_exact(LANES)) {
        for i in 0..LANES {
            to[i] = f(a[i]);
        }
    }
}

#[inline(always)]
fn two(a: &[f32], b: &[f32], to: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((to, a), b) in to.chunks_exact_mut(LANES).zip(a.chunks_exact(LANES)).zip(b.chunks_exact(LANES)) {
        for i in 0..LANES {
            to[i] = f(a[i], b[i]);
        }
    }
}

#[inline(always)]
fn three(a: &[f32], b: &[f32], c: &[f32], to: &mut [f32], f: impl Fn(f32, f32, f32) -> f32) {
    let sources = a.chunks_exact(LANES).zip(b.chunks_exact(LANES)).zip(c.chunks_exact(LANES));
    for (to, ((a, b), c)) in to.chunks_exact_mut(LANES).zip(sources) {
        for i in 0..LANES {
            to[i] = f(a[i], b[i], c[i]);
        }
    }
}

/// A sequence in memory: the values of a time step stand side by side, `[time, lanes]`.
pub type Sequence<'a> = &'a [f32];

/// What a forward pass reads and writes; sequences of all lanes.
pub struct Forward<'a> {
    /// Inputs, `[time, lanes]` each.
    pub inputs: &'a [Sequence<'a>],
    /// States, `[time + 1, lanes]` each, the first row being where they begin.
    pub states: &'a mut [Vec<f32>],
    /// Signals that are no states, `[time, lanes]` each.
    pub signals: &'a mut [Vec<f32>],
}

/// The lanes and steps of a run.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// First lane.
    pub lane: usize,
    /// Lanes, at most [`TILE`].
    pub lanes: usize,
    /// Lanes of a time step in memory.
    pub stride: usize,
    /// First step.
    pub from: usize,
    /// One past the last step.
    pub to: usize,
}

impl Window {
    #[inline(always)]
    fn at(&self, t: usize) -> std::ops::Range<usize> {
        let start = t * self.stride + self.lane;
        start..start + self.lanes
    }
}

/// Runs a tile forward over time. The results are the states, then the signals that are none.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn forward(code: &Code, registers: &mut [f32], window: Window, memory: &mut Forward<'_>) {
    let n = window.lanes;
    for t in window.from..window.to {
        for (register, source) in &code.loads {
            let values = match source {
                Source::Input(i) => &memory.inputs[*i][window.at(t)],
                Source::Previous(i) => &memory.states[*i][window.at(t)],
                Source::State(_) | Source::SignalGradient(_) => continue,
            };
            copy(values, &mut registers[usize::from(*register) * TILE..]);
        }
        code.run(registers, n);
        let states = memory.states.len();
        for (i, result) in code.results.iter().enumerate() {
            let (to, at) = match i.checked_sub(states) {
                None => (&mut memory.states[i], window.at(t + 1)),
                Some(signal) => (&mut memory.signals[signal], window.at(t)),
            };
            match result {
                Some(register) => copy(&registers[usize::from(*register) * TILE..][..n], &mut to[at]),
                None => to[at].fill(0.0),
            }
        }
    }
}

/// What a reverse pass reads and writes.
pub struct Backward<'a> {
    /// Inputs, as in the forward pass.
    pub inputs: &'a [Sequence<'a>],
    /// States, as the forward pass left them.
    pub states: &'a [Vec<f32>],
    /// Gradients of the signals, `[time, lanes]`; only those that the code asks for are read.
    pub signals: &'a [Option<Sequence<'a>>],
    /// Gradients of the inputs, `[time, lanes]` each, which are overwritten.
    pub input_gradients: &'a mut [Vec<f32>],
    /// Gradients of the states, `[lanes]` each: after the window on entry, before it on return.
    pub state_gradients: &'a mut [Vec<f32>],
    /// Gradients of the parameters that are asked for, `[lanes]` each, which are added to.
    pub param_gradients: &'a mut [Vec<f32>],
}

/// Runs a tile backward over time. The results are gradients of the states before, the inputs and the parameters.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn backward(code: &Code, registers: &mut [f32], window: Window, memory: &mut Backward<'_>) {
    let n = window.lanes;
    let lanes = window.lane..window.lane + n;
    let (states, inputs) = (memory.state_gradients.len(), memory.input_gradients.len());
    for (register, i) in code.state_gradients() {
        registers[usize::from(*register) * TILE..][..n].copy_from_slice(&memory.state_gradients[*i][lanes.clone()]);
    }
    for t in (window.from..window.to).rev() {
        for (register, source) in &code.loads {
            let values = match source {
                Source::Input(i) => &memory.inputs[*i][window.at(t)],
                Source::Previous(i) => &memory.states[*i][window.at(t)],
                Source::State(i) => &memory.states[*i][window.at(t + 1)],
                Source::SignalGradient(i) => match memory.signals[*i] {
                    Some(gradient) => &gradient[window.at(t)],
                    None => continue,
                },
            };
            copy(values, &mut registers[usize::from(*register) * TILE..]);
        }
        code.run(registers, n);
        let (previous, rest) = code.results.split_at(states);
        let (of_inputs, of_params) = rest.split_at(inputs);
        for (to, result) in memory.input_gradients.iter_mut().zip(of_inputs) {
            match result {
                Some(register) => {
                    copy(&registers[usize::from(*register) * TILE..][..n], &mut to[window.at(t)]);
                }
                None => to[window.at(t)].fill(0.0),
            }
        }
        for (sum, result) in memory.param_gradients.iter_mut().zip(of_params) {
            let Some(register) = result else { continue };
            let values = &registers[usize::from(*register) * TILE..][..n];
            for (sum, value) in sum[lanes.clone()].iter_mut().zip(values) {
                *sum += value;
            }
        }
        for (register, i) in code.state_gradients() {
            let to = usize::from(*register) * TILE;
            match previous[*i] {
                Some(from) if from > *register => {
                    let (below, above) = registers.split_at_mut(usize::from(from) * TILE);
                    copy(&above[..n], &mut below[to..]);
                }
                Some(from) if from < *register => {
                    let (below, above) = registers.split_at_mut(to);
                    copy(&below[usize::from(from) * TILE..][..n], above);
                }
                Some(_) => {}
                None => registers[to..to + n].fill(0.0),
            }
        }
    }
    for (i, result) in code.results[..states].iter().enumerate() {
        let to = &mut memory.state_gradients[i][lanes.clone()];
        let carried = code.state_gradients().iter().find(|(_, state)| *state == i);
        match (carried, result) {
            // After the last step the register holds what goes on to the step before.
            (Some((register, _)), _) => to.copy_from_slice(&registers[usize::from(*register) * TILE..][..n]),
            (None, Some(register)) => to.copy_from_slice(&registers[usize::from(*register) * TILE..][..n]),
            (None, None) => to.fill(0.0),
        }
    }
}
