//! The passes of a kernel as machine code: which arrays a step reads and writes, and that they are long enough.

use super::code::Code;
#[cfg(target_arch = "x86_64")]
use super::code::Operand;
use super::interpret::{Backward, Forward, Window};
#[cfg(target_arch = "x86_64")]
use super::jit::{Carried, Layout, MachineFunction, Offset, Site, TABLE, Walk};

/// How many arrays a kernel has.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Inputs.
    pub inputs: usize,
    /// States.
    pub states: usize,
    /// Signals.
    pub signals: usize,
}

/// Machine code for both passes, as far as it could be made.
#[derive(Debug, Default)]
pub struct StepMachine {
    #[cfg(target_arch = "x86_64")]
    forward: Option<MachineFunction>,
    #[cfg(target_arch = "x86_64")]
    backward: Option<MachineFunction>,
}

#[cfg(not(target_arch = "x86_64"))]
impl StepMachine {
    /// None on this processor.
    pub fn new(_: &Code, _: &Code, _: Sizes) -> StepMachine {
        StepMachine::default()
    }

    /// Nothing is run.
    pub fn forward(&self, _: &mut [f32], _: Window, _: &mut Forward<'_>) -> bool {
        false
    }

    /// Nothing is run.
    pub fn backward(&self, _: &mut [f32], _: Window, _: &mut Backward<'_>) -> bool {
        false
    }
}

#[cfg(target_arch = "x86_64")]
impl StepMachine {
    /// Compiles both passes.
    pub fn new(forward: &Code, backward: &Code, sizes: Sizes) -> StepMachine {
        // The table has an entry for every array of a pass, also for those that the code does not use.
        let arrays = 1 + sizes.inputs + 2 * sizes.states + sizes.signals;
        let back = arrays + backward.results.len();
        let make = |code: &Code, layout: Layout, arrays: usize| {
            (layout.entries().max(arrays) <= TABLE).then(|| MachineFunction::new(code, &layout)).flatten()
        };
        StepMachine {
            forward: make(forward, forward_layout(forward, sizes), arrays),
            backward: make(backward, backward_layout(backward, sizes), back),
        }
    }

    /// Runs a tile forward over time; `false` where there is no machine code.
    pub fn forward(&self, registers: &mut [f32], window: Window, memory: &mut Forward<'_>) -> bool {
        let Some(function) = &self.forward else { return false };
        let mut table = Addresses::new(registers, window);
        memory.inputs.iter().for_each(|input| table.read(input, 0));
        // The step before and this one are rows of one array.
        memory.states.iter_mut().for_each(|state| table.rows(state, &[0, 1]));
        memory.signals.iter_mut().for_each(|signal| table.rows(signal, &[0]));
        table.run(function, false);
        true
    }

    /// Runs a tile backward over time; `false` where there is no machine code.
    ///
    /// # Panics
    /// Where an array is too short, among them a gradient that the code reads and that is not given.
    pub fn backward(&self, registers: &mut [f32], window: Window, memory: &mut Backward<'_>) -> bool {
        let Some(function) = &self.backward else { return false };
        let mut table = Addresses::new(registers, window);
        memory.inputs.iter().for_each(|input| table.read(input, 0));
        for state in memory.states {
            table.read(state, 0);
            table.read(state, 1);
        }
        for (i, signal) in memory.signals.iter().enumerate() {
            match signal {
                Some(signal) => table.read(signal, 0),
                None => table.skip(!function.loads(table.len), i),
            }
        }
        memory.input_gradients.iter_mut().for_each(|gradient| table.rows(gradient, &[0]));
        memory.state_gradients.iter_mut().for_each(|gradient| table.lanes(gradient));
        memory.param_gradients.iter_mut().for_each(|gradient| table.lanes(gradient));
        table.run(function, true);
        true
    }
}

#[cfg(target_arch = "x86_64")]
fn over_time(entry: usize) -> Site {
    Site { entry, offset: Offset::Time }
}

#[cfg(target_arch = "x86_64")]
fn forward_layout(code: &Code, sizes: Sizes) -> Layout {
    let first_state = 1 + sizes.inputs;
    let first_signal = first_state + 2 * sizes.states;
    let mut layout = Layout::default();
    for (register, source) in &code.loads {
        match *source {
            Operand::Input(i) => layout.loads.push((*register, over_time(1 + i))),
            Operand::Previous(i) => layout.carried.push(Carried {
                register: *register,
                begin: over_time(first_state + 2 * i),
                becomes: code.results[i],
                end: None,
            }),
            // A forward pass has none of these.
            Operand::State(_) | Operand::SignalGradient(_) => {}
        }
    }
    for (i, result) in code.results.iter().enumerate() {
        let entry = match i.checked_sub(sizes.states) {
            None => first_state + 2 * i + 1,
            Some(signal) => first_signal + signal,
        };
        layout.stores.push((*result, over_time(entry)));
    }
    layout
}

#[cfg(target_arch = "x86_64")]
fn backward_layout(code: &Code, sizes: Sizes) -> Layout {
    let first_state = 1 + sizes.inputs;
    let first_signal = first_state + 2 * sizes.states;
    let first_input_gradient = first_signal + sizes.signals;
    let first_state_gradient = first_input_gradient + sizes.inputs;
    let first_sum = first_state_gradient + sizes.states;
    let lanes = |entry: usize| Site { entry, offset: Offset::Lane };
    let mut layout = Layout::default();
    for (register, source) in &code.loads {
        let entry = match *source {
            Operand::Input(i) => 1 + i,
            Operand::Previous(i) => first_state + 2 * i,
            Operand::State(i) => first_state + 2 * i + 1,
            Operand::SignalGradient(i) => first_signal + i,
        };
        layout.loads.push((*register, over_time(entry)));
    }
    for (register, i) in &code.state_gradients {
        let place = lanes(first_state_gradient + i);
        layout.carried.push(Carried { register: *register, begin: place, becomes: code.results[*i], end: Some(place) });
    }
    let carried = |i: usize| code.state_gradients.iter().any(|(_, state)| *state == i);
    for i in (0..sizes.states).filter(|i| !carried(*i)) {
        // Nothing reads it within a step, so the last one written is what goes on.
        layout.stores.push((code.results[i], lanes(first_state_gradient + i)));
    }
    for i in 0..sizes.inputs {
        layout.stores.push((code.results[sizes.states + i], over_time(first_input_gradient + i)));
    }
    let sums = code.results[sizes.states + sizes.inputs..].iter().enumerate();
    layout.sums = sums.filter_map(|(i, result)| Some(((*result)?, lanes(first_sum + i)))).collect();
    layout
}

/// The arrays of a run, each with room for all of its steps and lanes.
#[cfg(target_arch = "x86_64")]
struct Addresses<'a> {
    addresses: [*mut f32; TABLE],
    len: usize,
    window: Window,
    /// The arrays are borrowed until the run is over.
    arrays: std::marker::PhantomData<&'a mut [f32]>,
}

#[cfg(target_arch = "x86_64")]
impl<'a> Addresses<'a> {
    fn new(registers: &'a mut [f32], window: Window) -> Addresses<'a> {
        let addresses = [std::ptr::null_mut(); TABLE];
        let mut table = Addresses { addresses, len: 0, window, arrays: std::marker::PhantomData };
        table.push(registers.as_mut_ptr());
        table
    }

    fn push(&mut self, address: *mut f32) {
        self.addresses[self.len] = address;
        self.len += 1;
    }

    /// An array `[time, lanes]` that is only read, from a row on.
    fn read(&mut self, array: &'a [f32], row: usize) {
        self.check(array.len(), row);
        self.push(array[row * self.window.stride + self.window.lane..].as_ptr().cast_mut());
    }

    /// An array `[time, lanes]` that is written, once for each of some rows from which it is used on.
    fn rows(&mut self, array: &'a mut [f32], rows: &[usize]) {
        let (len, address) = (array.len(), array.as_mut_ptr());
        for row in rows {
            self.check(len, *row);
            // What `check` asserts holds this place inside of the array.
            self.push(address.wrapping_add(row * self.window.stride + self.window.lane));
        }
    }

    /// An array `[lanes]` that is read and written.
    fn lanes(&mut self, array: &'a mut [f32]) {
        let window = self.window;
        self.push(array[window.lane..window.lane + window.lanes].as_mut_ptr());
    }

    /// An array that the code does not use.
    fn skip(&mut self, unused: bool, signal: usize) {
        assert!(unused, "the gradient of signal {signal} is read, but not given");
        self.push(std::ptr::null_mut());
    }

    fn check(&self, len: usize, row: usize) {
        let Window { lane, lanes, stride, from, to } = self.window;
        let end = if to > from { (to - 1 + row) * stride + lane + lanes } else { row * stride + lane };
        assert!(end <= len, "an array of {len} numbers has no place {end}");
    }

    fn run(&self, function: &MachineFunction, back: bool) {
        let Window { lanes, stride, from, to, .. } = self.window;
        if to == from {
            return;
        }
        let run = Walk { first: if back { to - 1 } else { from }, steps: to - from, back, stride, lanes };
        // SAFETY: `check` held every array against the steps and lanes of the window, the registers were begun with
        // room for whole tiles, and the order of the entries is that of the function's layout. Only the states of a
        // forward pass are both read and written, in different rows of a step.
        unsafe { function.run(&self.addresses, run) }
    }
}
