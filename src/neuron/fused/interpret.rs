//! Runs instructions on the processor, tile by tile: each works on a tile that stays in the first-level cache.
//! Compiled for several vector units, of which the machine's best is taken.

use super::code::{Code, Instruction, Operand, Operation, TILE, tile};
use super::graph::{Binary, Unary};
use crate::tensor::Aligned;
use multiversion::multiversion;

/// Lanes that are worked on at once; a tile's last ones are padded to it.
const LANES: usize = 16;

impl Code {
    /// Fills the registers that stay the same over time; `param(i)` gives the values of a parameter for the lanes.
    pub fn begin(&self, registers: &mut [f32], lanes: usize, param: &mut dyn FnMut(usize, &mut [f32])) {
        for (register, value) in &self.constants {
            tile(registers, *register).fill(*value);
        }
        for (register, i) in &self.params {
            param(*i, &mut tile(registers, *register)[..lanes]);
        }
        execute(&self.once, registers, lanes);
    }
}

/// Runs instructions on the first `lanes` lanes of a tile.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn execute(instructions: &[Instruction], registers: &mut [f32], lanes: usize) {
    run(instructions, registers, lanes);
}

#[inline(always)]
fn run(instructions: &[Instruction], registers: &mut [f32], lanes: usize) {
    let lanes = lanes.next_multiple_of(LANES);
    for instruction in instructions {
        let (below, result) = registers.split_at_mut(usize::from(instruction.to) * TILE);
        let read = |register: u16| &below[usize::from(register) * TILE..][..lanes];
        let [a, b, c] = instruction.read;
        apply(instruction.operation, [read(a), read(b), read(c)], &mut result[..lanes]);
    }
}

#[inline(always)]
fn apply(operation: Operation, [a, b, c]: [&[f32]; 3], to: &mut [f32]) {
    match operation {
        Operation::MulAdd => three(a, b, c, to, |a, b, c| a.mul_add(b, c)),
        Operation::MulSub => three(a, b, c, to, |a, b, c| (-a).mul_add(b, c)),
        Operation::Select => three(a, b, c, to, |a, b, c| if a != 0.0 { b } else { c }),
        Operation::Negate => one(a, to, |x| Unary::Negate.apply(x)),
        Operation::Abs => one(a, to, |x| Unary::Abs.apply(x)),
        Operation::Log => one(a, to, |x| Unary::Log.apply(x)),
        Operation::Sqrt => one(a, to, |x| Unary::Sqrt.apply(x)),
        Operation::Sin => one(a, to, |x| Unary::Sin.apply(x)),
        Operation::Cos => one(a, to, |x| Unary::Cos.apply(x)),
        Operation::Sign => one(a, to, |x| Unary::Sign.apply(x)),
        Operation::Floor => one(a, to, |x| Unary::Floor.apply(x)),
        Operation::Round => one(a, to, f32::round_ties_even),
        Operation::Heaviside => one(a, to, |x| Unary::Heaviside.apply(x)),
        Operation::Add => two(a, b, to, |a, b| Binary::Add.apply(a, b)),
        Operation::Sub => two(a, b, to, |a, b| Binary::Sub.apply(a, b)),
        Operation::Mul => two(a, b, to, |a, b| Binary::Mul.apply(a, b)),
        Operation::Div => two(a, b, to, |a, b| Binary::Div.apply(a, b)),
        Operation::Pow => two(a, b, to, |a, b| Binary::Pow.apply(a, b)),
        Operation::Min => two(a, b, to, |a, b| Binary::Min.apply(a, b)),
        Operation::Max => two(a, b, to, |a, b| Binary::Max.apply(a, b)),
        Operation::CapAbove => two(a, b, to, |a, b| if b < a { b } else { a }),
        Operation::CapBelow => two(a, b, to, |a, b| if b > a { b } else { a }),
        Operation::Less => two(a, b, to, |a, b| Binary::Less.apply(a, b)),
        Operation::LessEqual => two(a, b, to, |a, b| Binary::LessEqual.apply(a, b)),
        Operation::Equal => two(a, b, to, |a, b| Binary::Equal.apply(a, b)),
        Operation::NotEqual => two(a, b, to, |a, b| Binary::NotEqual.apply(a, b)),
        Operation::Scale => two(a, b, to, scale),
    }
}

/// `a * 2^b` in two halves, so that neither power leaves the range of f32.
#[inline(always)]
fn scale(a: f32, b: f32) -> f32 {
    // Of what is not a number, `a` says so.
    let exponent = b as i32;
    let half = exponent >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    a * power(half) * power(exponent - half)
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
    pub states: &'a mut [Aligned],
    /// Signals that are no states, `[time, lanes]` each.
    pub signals: &'a mut [Aligned],
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
                Operand::Input(i) => &memory.inputs[*i][window.at(t)],
                Operand::Previous(i) => &memory.states[*i][window.at(t)],
                Operand::State(_) | Operand::SignalGradient(_) => continue,
            };
            copy(values, &mut registers[usize::from(*register) * TILE..]);
        }
        run(&code.instructions, registers, n);
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
    pub states: &'a [Aligned],
    /// Gradients of the signals, `[time, lanes]`; only those that the code asks for are read.
    pub signals: &'a [Option<Sequence<'a>>],
    /// Gradients of the inputs, `[time, lanes]` each, which are overwritten.
    pub input_gradients: &'a mut [Aligned],
    /// Gradients of the states, `[lanes]` each: after the window on entry, before it on return.
    pub state_gradients: &'a mut [Aligned],
    /// Gradients of the parameters that are asked for, `[lanes]` each, which are added to.
    pub param_gradients: &'a mut [Aligned],
}

/// Runs a tile backward over time. The results are gradients of the states before, the inputs and the parameters.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn backward(code: &Code, registers: &mut [f32], window: Window, memory: &mut Backward<'_>) {
    let n = window.lanes;
    let lanes = window.lane..window.lane + n;
    let (states, inputs) = (memory.state_gradients.len(), memory.input_gradients.len());
    for (register, i) in &code.state_gradients {
        registers[usize::from(*register) * TILE..][..n].copy_from_slice(&memory.state_gradients[*i][lanes.clone()]);
    }
    for t in (window.from..window.to).rev() {
        for (register, source) in &code.loads {
            let values = match source {
                Operand::Input(i) => &memory.inputs[*i][window.at(t)],
                Operand::Previous(i) => &memory.states[*i][window.at(t)],
                Operand::State(i) => &memory.states[*i][window.at(t + 1)],
                Operand::SignalGradient(i) => match memory.signals[*i] {
                    Some(gradient) => &gradient[window.at(t)],
                    None => continue,
                },
            };
            copy(values, &mut registers[usize::from(*register) * TILE..]);
        }
        run(&code.instructions, registers, n);
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
        for (register, i) in &code.state_gradients {
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
        let carried = &code.state_gradients.iter().find(|(_, state)| *state == i);
        match (carried, result) {
            // After the last step the register holds what goes on to the step before.
            (Some((register, _)), _) => to.copy_from_slice(&registers[usize::from(*register) * TILE..][..n]),
            (None, Some(register)) => to.copy_from_slice(&registers[usize::from(*register) * TILE..][..n]),
            (None, None) => to.fill(0.0),
        }
    }
}
