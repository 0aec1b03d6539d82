//! The few instructions of x86-64 that neurons need, in their encoding for 16 lanes (AVX-512) or 8 (AVX2 with FMA).
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, sections 2.3 and 2.7.

/// Vector units that code is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 16 lanes, 32 registers, masks of their own.
    Avx512,
    /// 8 lanes, 16 registers.
    Avx2,
}

impl Unit {
    /// The best unit of this processor, if it has one of them.
    pub fn best() -> Option<Unit> {
        if std::is_x86_feature_detected!("avx512f") {
            Some(Unit::Avx512)
        } else if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            Some(Unit::Avx2)
        } else {
            None
        }
    }

    /// Lanes of a register.
    pub fn lanes(self) -> usize {
        match self {
            Unit::Avx512 => 16,
            Unit::Avx2 => 8,
        }
    }

    /// Registers that hold values. Of AVX2's 16 one holds the mask of the last lanes.
    pub fn registers(self) -> usize {
        match self {
            Unit::Avx512 => 32,
            Unit::Avx2 => 15,
        }
    }
}

/// A vector register.
pub type Vector = u8;

/// AVX2's register with the mask of the last lanes.
const MASK: Vector = 15;

/// General registers, by their number. The first holds the address that was loaded last.
const ADDRESS: u8 = 0;
/// Lanes left of the time loop.
const COUNT: u8 = 1;
/// Bytes from the tile's first lane.
const LANE: u8 = 2;
/// Bytes from an array's first step and the tile's first lane.
const TIME: u8 = 6;
/// The table of addresses.
const TABLE: u8 = 7;

/// What an address is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    /// The step and the lane.
    Time,
    /// The lane alone.
    Lane,
}

/// Maps of operation codes.
const MAP_0F: u8 = 1;
const MAP_0F38: u8 = 2;
const MAP_0F3A: u8 = 3;

/// Prefixes that stand in the operation code.
const NONE: u8 = 0;
const P66: u8 = 1;
const PF3: u8 = 2;

/// The last operand of an instruction.
#[derive(Clone, Copy)]
enum Last {
    Register(Vector),
    /// The loaded address plus an offset and a number of bytes.
    Memory(Offset, i32),
}

/// An operation code: prefix, map, number.
#[derive(Clone, Copy)]
struct Opcode(u8, u8, u8);

/// Comparisons, by their immediate number; false for what is not a number, except `NotEqual`.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Compare {
    Equal = 0,
    Less = 17,
    LessEqual = 18,
    NotEqual = 4,
    Greater = 30,
    Unordered = 3,
}

/// Operations on two registers, by their number.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Arithmetic {
    Add = 0x58,
    Mul = 0x59,
    Sub = 0x5c,
    Min = 0x5d,
    Div = 0x5e,
    Max = 0x5f,
}

/// Operations on the bits of two registers.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Bits {
    And = 0xdb,
    Xor = 0xef,
    AddInt = 0xfe,
    SubInt = 0xfa,
}

/// Machine code under way.
pub struct Assembler {
    unit: Unit,
    /// Whether loads and stores of arrays leave out the lanes that the mask leaves out.
    masked: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Assembler {
    /// Begins a function of `(table, time, lane, steps, stride, mask)`: see `super::MachineFunction`.
    pub fn new(unit: Unit, masked: bool) -> Assembler {
        let mut assembler = Assembler { unit, masked, bytes: Vec::new() };
        match unit {
            // mov eax, r9d; kmovw k1, eax
            Unit::Avx512 => assembler.bytes.extend([0x44, 0x89, 0xc8, 0xc5, 0xf8, 0x92, 0xc8]),
            Unit::Avx2 if masked => {
                // mov rax, r9
                assembler.bytes.extend([0x4c, 0x89, 0xc8]);
                assembler.vex(Opcode(NONE, MAP_0F, 0x10), MASK, 0, Last::Memory(Offset::Lane, i32::MIN));
            }
            Unit::Avx2 => {}
        }
        assembler
    }

    /// Loads an address from the table.
    pub fn address(&mut self, entry: usize) {
        // mov rax, [rdi + 8 * entry]
        self.bytes.extend([0x48, 0x8b, 0x80 | TABLE]);
        self.bytes.extend((8 * entry as i32).to_le_bytes());
    }

    /// The place of the next instruction.
    pub fn here(&self) -> usize {
        self.bytes.len()
    }

    /// Goes on to the next step, and back to a place while steps are left.
    pub fn next_step(&mut self, begin: usize) {
        // add rsi, r8; dec rcx; jnz begin
        self.bytes.extend([0x4c, 0x01, 0xc0 | TIME]);
        self.bytes.extend([0x48, 0xff, 0xc8 | COUNT]);
        self.bytes.extend([0x0f, 0x85]);
        let from = self.bytes.len() as i32 + 4;
        self.bytes.extend((begin as i32 - from).to_le_bytes());
    }

    /// Ends the function.
    pub fn end(&mut self) {
        // vzeroupper; ret
        self.bytes.extend([0xc5, 0xf8, 0x77, 0xc3]);
    }

    /// Loads the lanes at the loaded address; `array` where it may have fewer lanes than a register.
    pub fn load(&mut self, to: Vector, offset: Offset, bytes: i32, array: bool) {
        let memory = Last::Memory(offset, bytes);
        match self.unit {
            Unit::Avx512 if array && self.masked => self.evex(Opcode(NONE, MAP_0F, 0x10), to, 0, memory, 0x81),
            Unit::Avx512 => self.evex(Opcode(NONE, MAP_0F, 0x10), to, 0, memory, 0),
            Unit::Avx2 if array && self.masked => self.vex(Opcode(P66, MAP_0F38, 0x2c), to, MASK, memory),
            Unit::Avx2 => self.vex(Opcode(NONE, MAP_0F, 0x10), to, 0, memory),
        }
    }

    /// Stores lanes to the loaded address.
    pub fn store(&mut self, from: Vector, offset: Offset, bytes: i32, array: bool) {
        let memory = Last::Memory(offset, bytes);
        match self.unit {
            Unit::Avx512 if array && self.masked => self.evex(Opcode(NONE, MAP_0F, 0x11), from, 0, memory, 1),
            Unit::Avx512 => self.evex(Opcode(NONE, MAP_0F, 0x11), from, 0, memory, 0),
            Unit::Avx2 if array && self.masked => self.vex(Opcode(P66, MAP_0F38, 0x2e), from, MASK, memory),
            Unit::Avx2 => self.vex(Opcode(NONE, MAP_0F, 0x11), from, 0, memory),
        }
    }

    /// `to = from`
    pub fn copy(&mut self, to: Vector, from: Vector) {
        if to != from {
            self.three(Opcode(NONE, MAP_0F, 0x28), to, 0, from);
        }
    }

    /// `to = a op b`
    pub fn arithmetic(&mut self, operation: Arithmetic, to: Vector, a: Vector, b: Vector) {
        self.three(Opcode(NONE, MAP_0F, operation as u8), to, a, b);
    }

    /// `to = a op b` on bits.
    pub fn bits(&mut self, operation: Bits, to: Vector, a: Vector, b: Vector) {
        self.three(Opcode(P66, MAP_0F, operation as u8), to, a, b);
    }

    /// `to = a * b + to`, rounded once; with `minus` `to - a * b`.
    pub fn multiply_add(&mut self, minus: bool, to: Vector, a: Vector, b: Vector) {
        self.three(Opcode(P66, MAP_0F38, if minus { 0xbc } else { 0xb8 }), to, a, b);
    }

    /// `to = sqrt(a)`
    pub fn sqrt(&mut self, to: Vector, a: Vector) {
        self.three(Opcode(NONE, MAP_0F, 0x51), to, 0, a);
    }

    /// `to = a` as a whole number: the nearest one, half to even, or with `down` the one below.
    pub fn round(&mut self, down: bool, to: Vector, a: Vector) {
        // vrndscaleps and vroundps agree in these modes; 8 keeps quiet about inexact results.
        self.three(Opcode(P66, MAP_0F3A, 0x08), to, 0, a);
        self.bytes.push(if down { 9 } else { 8 });
    }

    /// `to = a` as integers, by truncation.
    pub fn integer(&mut self, to: Vector, a: Vector) {
        self.three(Opcode(PF3, MAP_0F, 0x5b), to, 0, a);
    }

    /// `to = a` shifted by bits: to the left, or with `down` to the right with its sign.
    pub fn shift(&mut self, down: bool, to: Vector, a: Vector, bits: u8) {
        // The operation's number goes where other instructions have their result.
        let digit = if down { 4 } else { 6 };
        match self.unit {
            Unit::Avx512 => self.evex(Opcode(P66, MAP_0F, 0x72), digit, to, Last::Register(a), 0),
            Unit::Avx2 => self.vex(Opcode(P66, MAP_0F, 0x72), digit, to, Last::Register(a)),
        }
        self.bytes.push(bits);
    }

    /// `to = 1 where a compares with b, else 0`; `one` holds ones.
    pub fn truth(&mut self, compare: Compare, to: Vector, [a, b]: [Vector; 2], one: Vector) {
        match self.unit {
            Unit::Avx512 => {
                self.compare(compare, a, b);
                // Zeroing move under the mask k2.
                self.evex(Opcode(NONE, MAP_0F, 0x28), to, 0, Last::Register(one), 0x82);
            }
            Unit::Avx2 => {
                self.vex(Opcode(NONE, MAP_0F, 0xc2), to, a, Last::Register(b));
                self.bytes.push(compare as u8);
                self.bits(Bits::And, to, to, one);
            }
        }
    }

    /// `to = yes where a compares with b, else no`; `free` is overwritten.
    pub fn select(&mut self, compare: Compare, to: Vector, [a, b]: [Vector; 2], [yes, no]: [Vector; 2], free: Vector) {
        match self.unit {
            Unit::Avx512 => {
                self.compare(compare, a, b);
                // vblendmps under the mask k2.
                self.evex(Opcode(P66, MAP_0F38, 0x65), to, no, Last::Register(yes), 2);
            }
            Unit::Avx2 => {
                self.vex(Opcode(NONE, MAP_0F, 0xc2), free, a, Last::Register(b));
                self.bytes.push(compare as u8);
                // vblendvps
                self.vex(Opcode(P66, MAP_0F3A, 0x4a), to, no, Last::Register(yes));
                self.bytes.push(free << 4);
            }
        }
    }

    /// Puts a comparison into the mask k2.
    fn compare(&mut self, compare: Compare, a: Vector, b: Vector) {
        self.evex(Opcode(NONE, MAP_0F, 0xc2), 2, a, Last::Register(b), 0);
        self.bytes.push(compare as u8);
    }

    fn three(&mut self, code: Opcode, to: Vector, a: Vector, b: Vector) {
        match self.unit {
            Unit::Avx512 => self.evex(code, to, a, Last::Register(b), 0),
            Unit::Avx2 => self.vex(code, to, a, Last::Register(b)),
        }
    }

    /// An instruction on 256 bits with a prefix of three bytes.
    fn vex(&mut self, Opcode(prefix, map, number): Opcode, to: Vector, a: Vector, last: Last) {
        let (x, b) = match last {
            Last::Register(register) => (0, register >> 3 & 1),
            Last::Memory(..) => (0, 0),
        };
        self.bytes.extend([
            0xc4,
            (!(to >> 3) & 1) << 7 | (1 ^ x) << 6 | (1 ^ b) << 5 | map,
            (!a & 15) << 3 | 1 << 2 | prefix,
            number,
        ]);
        self.operand(to, last);
    }

    /// An instruction on 512 bits with a prefix of four bytes; `mask` is its number, with 0x80 to zero other lanes.
    fn evex(&mut self, Opcode(prefix, map, number): Opcode, to: Vector, a: Vector, last: Last, mask: u8) {
        let (x, b) = match last {
            Last::Register(register) => (register >> 4 & 1, register >> 3 & 1),
            Last::Memory(..) => (0, 0),
        };
        let inverted = |bit: u8| (bit & 1) ^ 1;
        self.bytes.extend([
            0x62,
            inverted(to >> 3) << 7 | inverted(x) << 6 | inverted(b) << 5 | inverted(to >> 4) << 4 | map,
            (!a & 15) << 3 | 1 << 2 | prefix,
            (mask & 0x80) | 2 << 5 | inverted(a >> 4) << 3 | (mask & 7),
            number,
        ]);
        self.operand(to, last);
    }

    fn operand(&mut self, to: Vector, last: Last) {
        let to = (to & 7) << 3;
        match last {
            Last::Register(register) => self.bytes.push(0xc0 | to | (register & 7)),
            // The mask of AVX2's last lanes: [rax]
            Last::Memory(_, i32::MIN) => self.bytes.push(to | ADDRESS),
            Last::Memory(offset, bytes) => {
                let index = match offset {
                    Offset::Time => TIME,
                    Offset::Lane => LANE,
                };
                self.bytes.extend([0x80 | to | 4, index << 3 | ADDRESS]);
                self.bytes.extend(bytes.to_le_bytes());
            }
        }
    }
}
