//! A part of a graph as instructions over registers, each of which holds a tile of lanes. What depends on constants
//! and parameters alone is computed once, before the steps.

use super::graph::{Binary, Graph, Op, OpId, Unary};

/// Lanes of a tile.
pub const TILE: usize = 128;

/// Where a register gets its values from before each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
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
pub struct Instruction {
    /// What is computed.
    pub operation: Operation,
    /// The registers that it reads; an operation of one value reads it as `a`.
    pub read: [u16; 3],
    /// The register of the result.
    pub to: u16,
}

/// What instructions compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Negate,
    Abs,
    Log,
    Sqrt,
    Sin,
    Cos,
    Sign,
    Floor,
    /// To the nearest whole number, half to even.
    Round,
    Heaviside,
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    /// The smaller one; what is not a number as `a` stays.
    CapAbove,
    /// The larger one, likewise.
    CapBelow,
    Less,
    LessEqual,
    Equal,
    NotEqual,
    /// `a * 2^b` for a whole number `b` from -150 to 130.
    Scale,
    MulAdd,
    MulSub,
    Select,
}

/// Bits of numbers that machine code of some operations needs: zero, one, the bit of the sign, all others, and what
/// makes a whole number an exponent.
pub const ZERO: u32 = 0;
pub const ONE: u32 = 0x3f80_0000;
pub const MINUS_ZERO: u32 = 0x8000_0000;
pub const ABS: u32 = 0x7fff_ffff;
pub const POWER: u32 = 127;

impl Operation {
    /// Numbers that its machine code needs, by their bits.
    pub fn numbers(self) -> &'static [u32] {
        match self {
            Operation::Negate => &[MINUS_ZERO],
            Operation::Abs => &[ABS],
            Operation::Heaviside | Operation::Sign => &[ZERO, ONE],
            Operation::Less | Operation::LessEqual | Operation::Equal | Operation::NotEqual => &[ONE],
            Operation::Select => &[ZERO],
            Operation::Scale => &[POWER],
            _ => &[],
        }
    }

    /// How many registers it reads.
    pub fn reads(self) -> usize {
        match self {
            Operation::Negate
            | Operation::Abs
            | Operation::Log
            | Operation::Sqrt
            | Operation::Sin
            | Operation::Cos
            | Operation::Sign
            | Operation::Floor
            | Operation::Round
            | Operation::Heaviside => 1,
            Operation::MulAdd | Operation::MulSub | Operation::Select => 3,
            Operation::Add
            | Operation::Sub
            | Operation::Mul
            | Operation::Div
            | Operation::Pow
            | Operation::Min
            | Operation::Max
            | Operation::CapAbove
            | Operation::CapBelow
            | Operation::Less
            | Operation::LessEqual
            | Operation::Equal
            | Operation::NotEqual
            | Operation::Scale => 2,
        }
    }
}

/// Instructions of a step with the registers around them.
#[derive(Debug, Default)]
pub struct Code {
    /// Registers that hold a number.
    pub constants: Vec<(u16, f32)>,
    /// Register of each parameter that is read.
    pub(super) params: Vec<(u16, usize)>,
    /// Registers that are filled before each step.
    pub loads: Vec<(u16, Operand)>,
    /// Register of the gradient of each state that comes back from the next step.
    pub state_gradients: Vec<(u16, usize)>,
    /// What is computed once.
    pub(super) once: Vec<Instruction>,
    /// What is computed at each step.
    pub instructions: Vec<Instruction>,
    /// Registers of the results, in the order of the roots; none for a constant 0.
    pub results: Vec<Option<u16>>,
    registers: u16,
    /// Whether a register's value is the same at all steps.
    constant: Vec<bool>,
}

impl Code {
    /// Instructions for some results. `known` are operations whose values were kept and are loaded, not computed.
    pub fn new(graph: &Graph, roots: &[OpId], known: &[(OpId, Operand)]) -> Code {
        let mut needed = vec![false; graph.ops.len()];
        let mut open: Vec<OpId> = roots.to_vec();
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
        let zero = |node: OpId| graph.ops[node] == Op::Constant(0.0_f32.to_bits());
        code.number(0.0);
        code.results = roots.iter().map(|&node| (!zero(node)).then_some(register[node])).collect();
        code
    }

    fn place(&mut self, op: Op, source: Option<Operand>, register: &[u16]) -> u16 {
        match (source, op) {
            (Some(source), _) => self.load(source),
            (None, Op::Constant(bits)) => self.number(f32::from_bits(bits)),
            (None, Op::Input(i)) => self.load(Operand::Input(i)),
            (None, Op::Param(i)) => {
                let to = self.register(true);
                self.params.push((to, i));
                to
            }
            (None, Op::Previous(i)) => self.load(Operand::Previous(i)),
            (None, Op::StateGradient(i)) => {
                let to = self.register(false);
                self.state_gradients.push((to, i));
                to
            }
            (None, Op::SignalGradient(i)) => self.load(Operand::SignalGradient(i)),
            // A name for the same value.
            (None, Op::Detach(x)) => register[x],
            (None, Op::Spike(x)) => self.one(Operation::Heaviside, register[x]),
            (None, Op::Unary(unary, x)) => self.unary(unary, register[x]),
            (None, Op::Binary(binary, a, b)) => self.two(operation(binary), register[a], register[b]),
            (None, Op::MulAdd(a, b, c)) => self.three(Operation::MulAdd, [a, b, c].map(|node| register[node])),
            (None, Op::MulSub(a, b, c)) => self.three(Operation::MulSub, [a, b, c].map(|node| register[node])),
            (None, Op::Select(a, b, c)) => self.three(Operation::Select, [a, b, c].map(|node| register[node])),
        }
    }

    fn register(&mut self, constant: bool) -> u16 {
        self.constant.push(constant);
        let register = self.registers;
        // `neuron::limits` keeps what a text may ask for below this.
        self.registers = register.checked_add(1).expect("a step of at most 65,535 values");
        register
    }

    fn load(&mut self, source: Operand) -> u16 {
        let to = self.register(false);
        self.loads.push((to, source));
        to
    }

    fn number(&mut self, value: f32) -> u16 {
        if let Some(register) = self.find(value.to_bits()) {
            return register;
        }
        let to = self.register(true);
        self.constants.push((to, value));
        to
    }

    /// The register of a number.
    pub fn find(&self, bits: u32) -> Option<u16> {
        self.constants.iter().find(|(_, value)| value.to_bits() == bits).map(|(register, _)| *register)
    }

    fn one(&mut self, operation: Operation, a: u16) -> u16 {
        self.three(operation, [a; 3])
    }

    fn two(&mut self, operation: Operation, a: u16, b: u16) -> u16 {
        self.three(operation, [a, b, b])
    }

    fn three(&mut self, operation: Operation, read: [u16; 3]) -> u16 {
        for bits in operation.numbers() {
            self.number(f32::from_bits(*bits));
        }
        let once = read.iter().all(|register| self.constant[usize::from(*register)]);
        let to = self.register(once);
        let instruction = Instruction { operation, read, to };
        if once {
            self.once.push(instruction)
        } else {
            self.instructions.push(instruction)
        }
        to
    }

    fn unary(&mut self, unary: Unary, x: u16) -> u16 {
        match unary {
            Unary::Negate => self.one(Operation::Negate, x),
            Unary::Abs => self.one(Operation::Abs, x),
            Unary::Log => self.one(Operation::Log, x),
            Unary::Sqrt => self.one(Operation::Sqrt, x),
            Unary::Sin => self.one(Operation::Sin, x),
            Unary::Cos => self.one(Operation::Cos, x),
            Unary::Sign => self.one(Operation::Sign, x),
            Unary::Floor => self.one(Operation::Floor, x),
            Unary::Heaviside => self.one(Operation::Heaviside, x),
            Unary::Exp => self.exp(x),
            Unary::Sigmoid => {
                let minus = self.one(Operation::Negate, x);
                let (exp, one) = (self.exp(minus), self.number(1.0));
                let below = self.two(Operation::Add, exp, one);
                self.two(Operation::Div, one, below)
            }
            Unary::Tanh => self.tanh(x),
        }
    }

    /// `c[0] x^n + c[1] x^(n-1) + ...`
    fn polynomial(&mut self, coefficients: &[f32], x: u16) -> u16 {
        let mut sum = self.number(coefficients[0]);
        for coefficient in &coefficients[1..] {
            let next = self.number(*coefficient);
            sum = self.three(Operation::MulAdd, [sum, x, next]);
        }
        sum
    }

    /// The exponential, within two units in the last place. Source of the method and the coefficients: Moshier 1989,
    /// Methods and Programs for Mathematical Functions; Cephes library, expf.
    fn exp(&mut self, x: u16) -> u16 {
        let (high, low) = (self.number(89.0), self.number(-104.0));
        let x = self.two(Operation::CapAbove, x, high);
        let x = self.two(Operation::CapBelow, x, low);
        let (log2e, ln2, rest) =
            (self.number(std::f32::consts::LOG2_E), self.number(0.693_359_4), self.number(-2.121_944_4e-4));
        let n = self.two(Operation::Mul, x, log2e);
        let n = self.one(Operation::Round, n);
        let r = self.three(Operation::MulSub, [n, ln2, x]);
        let r = self.three(Operation::MulSub, [n, rest, r]);
        let p =
            self.polynomial(&[1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5], r);
        let square = self.two(Operation::Mul, r, r);
        let p = self.three(Operation::MulAdd, [p, square, r]);
        let one = self.number(1.0);
        let p = self.two(Operation::Add, p, one);
        self.two(Operation::Scale, p, n)
    }

    /// The hyperbolic tangent, within three units in the last place. Source: as for the exponential; tanhf.
    fn tanh(&mut self, x: u16) -> u16 {
        let square = self.two(Operation::Mul, x, x);
        let p =
            self.polynomial(&[-5.704_988_6e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_3e-1, -3.333_328e-1], square);
        let p = self.two(Operation::Mul, p, square);
        let near = self.three(Operation::MulAdd, [p, x, x]);
        let (size, one, two, zero) =
            (self.one(Operation::Abs, x), self.number(1.0), self.number(2.0), self.number(0.0));
        let twice = self.two(Operation::Add, size, size);
        let exp = self.exp(twice);
        let below = self.two(Operation::Add, exp, one);
        let ratio = self.two(Operation::Div, two, below);
        let far = self.two(Operation::Sub, one, ratio);
        let minus = self.one(Operation::Negate, far);
        let negative = self.two(Operation::Less, x, zero);
        let far = self.three(Operation::Select, [negative, minus, far]);
        let limit = self.number(0.625);
        let is_near = self.two(Operation::Less, size, limit);
        self.three(Operation::Select, [is_near, near, far])
    }

    /// How many registers a tile needs.
    pub fn registers(&self) -> usize {
        usize::from(self.registers)
    }

    /// Whether a register's value is the same at all steps.
    pub fn is_constant(&self, register: u16) -> bool {
        self.constant[usize::from(register)]
    }
}

/// The lanes of a register.
pub fn tile(registers: &mut [f32], register: u16) -> &mut [f32] {
    &mut registers[usize::from(register) * TILE..][..TILE]
}

fn operation(binary: Binary) -> Operation {
    match binary {
        Binary::Add => Operation::Add,
        Binary::Sub => Operation::Sub,
        Binary::Mul => Operation::Mul,
        Binary::Div => Operation::Div,
        Binary::Pow => Operation::Pow,
        Binary::Min => Operation::Min,
        Binary::Max => Operation::Max,
        Binary::Less => Operation::Less,
        Binary::LessEqual => Operation::LessEqual,
        Binary::Equal => Operation::Equal,
        Binary::NotEqual => Operation::NotEqual,
    }
}

fn operands(op: Op) -> Vec<OpId> {
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
