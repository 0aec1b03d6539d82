//! From instructions to machine code: which value lies in which vector register when. Values are read from memory where
//! they are needed, stay while there is room, and of those that must go the one goes that is needed last (Belady 1966,
//! IBM Systems Journal 5(2), 78-101).

use super::assembler::{Arithmetic, Assembler, Bits, Compare, Offset, Unit, Vector};
use super::{Layout, Site};
use crate::neuron::fused::code::{Code, Instruction, Operation, TILE, ZERO};

/// A register of the code, and which of the copies that are computed side by side.
type CopyOf = (u16, usize);

/// Machine code for `copies` vector registers of lanes at once, with a mask or without. Nothing where several copies
/// have not enough registers, or where the code has a function that machine code is not made for.
pub fn emit(code: &Code, layout: &Layout, unit: Unit, copies: usize, masked: bool) -> Option<Vec<u8>> {
    let constants = constants_by_use(code);
    // Constants that find no room are read from the tile each time.
    (0..=constants.len()).rev().find_map(|kept| {
        let spill = copies == 1 && kept == 0;
        if copies > 1 && kept < constants.len() {
            return None;
        }
        Emitter::new(code, layout, unit, copies, masked, spill).run(&constants[..kept])
    })
}

/// Registers with one value for all steps that instructions read, those first that are read most.
fn constants_by_use(code: &Code) -> Vec<u16> {
    let mut uses: Vec<(usize, u16)> = Vec::new();
    let read = code.instructions.iter().flat_map(|instruction| reads(code, instruction));
    for register in read.filter(|register| code.is_constant(*register)) {
        match uses.iter_mut().find(|(_, other)| *other == register) {
            Some((count, _)) => *count += 1,
            None => uses.push((1, register)),
        }
    }
    uses.sort_by_key(|(count, register)| (usize::MAX - count, *register));
    uses.into_iter().map(|(_, register)| register).collect()
}

/// Registers that an instruction reads, with the numbers that its machine code needs.
fn reads(code: &Code, instruction: &Instruction) -> Vec<u16> {
    let own = instruction.read[..instruction.operation.reads()].iter().copied();
    let more = instruction.operation.numbers().iter().filter_map(|bits| code.find(*bits));
    own.chain(more).collect()
}

struct Emitter<'a> {
    code: &'a Code,
    layout: &'a Layout,
    assembler: Assembler,
    unit: Unit,
    copies: usize,
    /// Whether values that were computed may be put to their place in the tile.
    spill: bool,
    /// For each register of the code the instructions that read it, in order; the last is the end of the step.
    uses: Vec<Vec<usize>>,
    /// What each vector register holds.
    held: Vec<Option<CopyOf>>,
    /// Vector registers that hold the same over all steps, or that the current instruction reads.
    pinned: Vec<bool>,
    locked: Vec<bool>,
    /// Sums over the steps, and the values that go on to the next one.
    sums: Vec<Vec<Vector>>,
    carried: Vec<Vec<Vector>>,
    /// Computed values whose place in the tile holds them.
    saved: Vec<CopyOf>,
    now: usize,
}

impl<'a> Emitter<'a> {
    fn new(code: &'a Code, layout: &'a Layout, unit: Unit, copies: usize, masked: bool, spill: bool) -> Self {
        let end = code.instructions.len();
        let mut uses = vec![Vec::new(); code.registers()];
        for (i, instruction) in code.instructions.iter().enumerate() {
            reads(code, instruction).into_iter().for_each(|register| uses[usize::from(register)].push(i));
        }
        let computed = |register: u16| code.instructions.iter().position(|instruction| instruction.to == register);
        let written = layout.stores.iter().filter_map(|(register, _)| *register);
        for register in written.chain(layout.sums.iter().map(|(register, _)| *register)) {
            uses[usize::from(register)].push(computed(register).unwrap_or(end));
        }
        for register in layout.carried.iter().filter_map(|carried| carried.becomes) {
            uses[usize::from(register)].push(end);
        }
        uses.iter_mut().for_each(|uses| uses.sort_unstable());
        Emitter {
            code,
            layout,
            assembler: Assembler::new(unit, masked),
            unit,
            copies,
            spill,
            uses,
            held: vec![None; unit.registers()],
            pinned: vec![false; unit.registers()],
            locked: vec![false; unit.registers()],
            sums: Vec::new(),
            carried: Vec::new(),
            saved: Vec::new(),
            now: 0,
        }
    }

    fn run(mut self, kept: &[u16]) -> Option<Vec<u8>> {
        let (code, layout) = (self.code, self.layout);
        for register in kept {
            for copy in 0..self.copies {
                if copy == 0 || !self.is_number(*register) {
                    let vector = self.get((*register, copy))?;
                    self.pinned[usize::from(vector)] = true;
                }
            }
        }
        for carried in &layout.carried {
            let vectors = self.begin(carried.begin)?;
            for (copy, vector) in vectors.iter().enumerate() {
                self.held[usize::from(*vector)] = Some((carried.register, copy));
            }
            self.carried.push(vectors);
        }
        for (_, place) in &layout.sums {
            let vectors = self.begin(*place)?;
            self.sums.push(vectors);
        }
        let begin = self.assembler.here();
        for (i, instruction) in code.instructions.iter().enumerate() {
            self.now = i;
            for copy in 0..self.copies {
                self.compute(instruction, copy)?;
                self.unlock();
            }
            self.write(|register| register == Some(instruction.to))?;
            self.forget();
        }
        self.now = code.instructions.len();
        let computed = |register: u16| code.instructions.iter().any(|instruction| instruction.to == register);
        self.write(|register| !register.is_some_and(computed))?;
        self.hand_on()?;
        self.held.iter_mut().zip(&self.pinned).filter(|(_, pinned)| !**pinned).for_each(|(held, _)| *held = None);
        self.assembler.next_step(begin);
        self.finish();
        Some(self.assembler.bytes)
    }

    /// Reads the first value of something that stays in registers.
    fn begin(&mut self, place: Site) -> Option<Vec<Vector>> {
        let mut vectors = Vec::new();
        self.assembler.address(place.entry);
        for copy in 0..self.copies {
            let vector = self.free()?;
            self.pinned[usize::from(vector)] = true;
            // A sum is no register of the code, but its place is taken.
            self.held[usize::from(vector)] = Some((u16::MAX, copy));
            self.assembler.load(vector, place.offset, self.bytes(copy), true);
            vectors.push(vector);
        }
        Some(vectors)
    }

    /// Writes the last values of what stays in registers.
    fn finish(&mut self) {
        let layout = self.layout;
        let ends =
            layout.carried.iter().zip(&self.carried).filter_map(|(carried, vectors)| Some((carried.end?, vectors)));
        let sums = layout.sums.iter().zip(&self.sums).map(|((_, place), vectors)| (*place, vectors));
        for (place, vectors) in ends.chain(sums) {
            self.assembler.address(place.entry);
            for (copy, vector) in vectors.iter().enumerate() {
                let bytes = (copy * self.unit.lanes() * size_of::<f32>()) as i32;
                self.assembler.store(*vector, place.offset, bytes, true);
            }
        }
        self.assembler.end();
    }

    fn bytes(&self, copy: usize) -> i32 {
        (copy * self.unit.lanes() * size_of::<f32>()) as i32
    }

    /// Stores and sums up some of the step's results.
    fn write(&mut self, which: impl Fn(Option<u16>) -> bool) -> Option<()> {
        let layout = self.layout;
        let zero = self.code.find(ZERO);
        for (register, place) in layout.stores.iter().filter(|(register, _)| which(*register)) {
            for copy in 0..self.copies {
                let vector = self.get(((*register).or(zero)?, copy))?;
                self.assembler.address(place.entry);
                self.assembler.store(vector, place.offset, self.bytes(copy), true);
                self.unlock();
            }
        }
        for (sum, (register, _)) in layout.sums.iter().enumerate().filter(|(_, (register, _))| which(Some(*register))) {
            for copy in 0..self.copies {
                let vector = self.get((*register, copy))?;
                let to = self.sums[sum][copy];
                self.assembler.arithmetic(Arithmetic::Add, to, to, vector);
                self.unlock();
            }
        }
        Some(())
    }

    /// Puts what goes on to the next step to its registers, all at once.
    fn hand_on(&mut self) -> Option<()> {
        let layout = self.layout;
        let zero = self.code.find(ZERO);
        let mut moves = Vec::new();
        for (carried, vectors) in layout.carried.iter().zip(self.carried.clone()) {
            for (copy, to) in vectors.into_iter().enumerate() {
                let from = self.get((carried.becomes.or(zero)?, copy))?;
                moves.push((from, to));
            }
        }
        for (i, (from, _)) in moves.clone().into_iter().enumerate() {
            // What is overwritten before it was read is kept aside.
            if moves[..i].iter().any(|(_, to)| *to == from) {
                let aside = self.free()?;
                self.locked[usize::from(aside)] = true;
                self.held[usize::from(aside)] = Some((u16::MAX, 0));
                self.assembler.copy(aside, from);
                moves[i].0 = aside;
            }
        }
        moves.into_iter().for_each(|(from, to)| self.assembler.copy(to, from));
        self.unlock();
        Some(())
    }

    fn is_number(&self, register: u16) -> bool {
        self.code.constants.iter().any(|(other, _)| *other == register)
    }

    /// The vector register of a value, which is read from memory if no one holds it. It stays until `unlock`.
    fn get(&mut self, (register, copy): CopyOf) -> Option<Vector> {
        // A number is the same in all lanes.
        let value = (register, if self.is_number(register) { 0 } else { copy });
        let vector = match self.held.iter().position(|held| *held == Some(value)) {
            Some(vector) => vector as Vector,
            None => {
                let vector = self.free()?;
                self.held[usize::from(vector)] = Some(value);
                let load = self.layout.loads.iter().find(|(other, _)| *other == register);
                match load {
                    Some((_, place)) => {
                        self.assembler.address(place.entry);
                        self.assembler.load(vector, place.offset, self.bytes(value.1), true);
                    }
                    None => {
                        self.assembler.address(0);
                        self.assembler.load(vector, Offset::Lane, self.home(value), false);
                    }
                }
                vector
            }
        };
        self.locked[usize::from(vector)] = true;
        Some(vector)
    }

    /// Where the tile has a value.
    fn home(&self, (register, copy): CopyOf) -> i32 {
        (usize::from(register) * TILE * size_of::<f32>()) as i32 + self.bytes(copy)
    }

    /// A vector register that nothing needs, or else the one that is needed last.
    fn free(&mut self) -> Option<Vector> {
        if let Some(vector) = self.held.iter().position(Option::is_none) {
            return Some(vector as Vector);
        }
        let next = |register: u16| self.uses[usize::from(register)].iter().find(|i| **i >= self.now).copied();
        let candidates = (0..self.held.len()).filter(|vector| !self.pinned[*vector] && !self.locked[*vector]);
        let vector = candidates.max_by_key(|vector| {
            let register = self.held[*vector].map_or(0, |(register, _)| register);
            if register == u16::MAX { 0 } else { next(register).unwrap_or(usize::MAX) }
        })?;
        let value = self.held[vector]?;
        let elsewhere = self.code.is_constant(value.0)
            || self.layout.loads.iter().any(|(register, _)| *register == value.0)
            || self.saved.contains(&value);
        if !elsewhere {
            if !self.spill {
                return None;
            }
            self.assembler.address(0);
            self.assembler.store(vector as Vector, Offset::Lane, self.home(value), false);
            self.saved.push(value);
        }
        self.held[vector] = None;
        Some(vector as Vector)
    }

    fn unlock(&mut self) {
        self.locked.fill(false);
    }

    /// Gives up the values that nothing reads any more.
    fn forget(&mut self) {
        for (held, pinned) in self.held.iter_mut().zip(&self.pinned) {
            if let Some((register, _)) = held
                && !pinned
                && self.uses[usize::from(*register)].last().is_none_or(|last| *last <= self.now)
            {
                *held = None;
            }
        }
    }

    /// A vector register for a result.
    fn result(&mut self, value: CopyOf) -> Option<Vector> {
        let vector = self.free()?;
        self.held[usize::from(vector)] = Some(value);
        self.locked[usize::from(vector)] = true;
        Some(vector)
    }

    /// A vector register for a while.
    fn aside(&mut self) -> Option<Vector> {
        self.result((u16::MAX, self.copies))
    }

    /// Gives up what was set aside.
    fn put_away(&mut self) {
        let aside = Some((u16::MAX, self.copies));
        self.held.iter_mut().filter(|held| **held == aside).for_each(|held| *held = None);
    }

    fn compute(&mut self, instruction: &Instruction, copy: usize) -> Option<()> {
        let Instruction { operation, read, to } = *instruction;
        let mut operands = [0; 3];
        for (operand, register) in operands.iter_mut().zip(&read[..operation.reads()]) {
            *operand = self.get((*register, copy))?;
        }
        let [a, b, c] = operands;
        let mut numbers = [0; 2];
        for (number, bits) in numbers.iter_mut().zip(operation.numbers()) {
            *number = self.get((self.code.find(*bits)?, 0))?;
        }
        let [first, second] = numbers;
        let to = self.result((to, copy))?;
        let compare = |compare: Compare| (compare, to, [a, b]);
        match operation {
            Operation::Log | Operation::Sin | Operation::Cos | Operation::Pow => return None,
            Operation::Add => self.assembler.arithmetic(Arithmetic::Add, to, a, b),
            Operation::Sub => self.assembler.arithmetic(Arithmetic::Sub, to, a, b),
            Operation::Mul => self.assembler.arithmetic(Arithmetic::Mul, to, a, b),
            Operation::Div => self.assembler.arithmetic(Arithmetic::Div, to, a, b),
            // Of equal or unordered operands the unit gives the second.
            Operation::CapAbove => self.assembler.arithmetic(Arithmetic::Min, to, b, a),
            Operation::CapBelow => self.assembler.arithmetic(Arithmetic::Max, to, b, a),
            Operation::Min | Operation::Max => {
                let (extreme, free) = (self.aside()?, self.aside()?);
                let which = if operation == Operation::Min { Arithmetic::Min } else { Arithmetic::Max };
                self.assembler.arithmetic(which, extreme, a, b);
                self.assembler.select(Compare::Unordered, to, [b, b], [a, extreme], free);
            }
            Operation::Negate => self.assembler.bits(Bits::Xor, to, a, first),
            Operation::Abs => self.assembler.bits(Bits::And, to, a, first),
            Operation::Sqrt => self.assembler.sqrt(to, a),
            Operation::Floor => self.assembler.round(true, to, a),
            Operation::Round => self.assembler.round(false, to, a),
            Operation::Heaviside => self.assembler.truth(Compare::Greater, to, [a, first], second),
            Operation::Sign => {
                let below = self.aside()?;
                self.assembler.truth(Compare::Less, below, [a, first], second);
                self.assembler.truth(Compare::Greater, to, [a, first], second);
                self.assembler.arithmetic(Arithmetic::Sub, to, to, below);
            }
            Operation::Less | Operation::LessEqual | Operation::Equal | Operation::NotEqual => {
                let (which, to, operands) = compare(match operation {
                    Operation::Less => Compare::Less,
                    Operation::LessEqual => Compare::LessEqual,
                    Operation::Equal => Compare::Equal,
                    _ => Compare::NotEqual,
                });
                self.assembler.truth(which, to, operands, first);
            }
            Operation::MulAdd | Operation::MulSub => {
                self.assembler.copy(to, c);
                self.assembler.multiply_add(operation == Operation::MulSub, to, a, b);
            }
            Operation::Select => {
                let free = self.aside()?;
                self.assembler.select(Compare::NotEqual, to, [a, first], [b, c], free);
            }
            Operation::Scale => {
                let (exponent, half) = (self.aside()?, self.aside()?);
                self.assembler.integer(exponent, b);
                self.assembler.shift(true, half, exponent, 1);
                self.assembler.bits(Bits::SubInt, exponent, exponent, half);
                for part in [half, exponent] {
                    self.assembler.bits(Bits::AddInt, part, part, first);
                    self.assembler.shift(false, part, part, 23);
                }
                self.assembler.arithmetic(Arithmetic::Mul, to, a, half);
                self.assembler.arithmetic(Arithmetic::Mul, to, to, exponent);
            }
        }
        self.put_away();
        Some(())
    }
}
