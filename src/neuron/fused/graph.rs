//! One time step of a program as a graph of operations in the order in which they are computed, with equal
//! operations shared and constants folded, and the reverse pass as more operations of the same graph.

use crate::formula::{BinaryOp, Expr, Function, constant};
use crate::neuron::program::StepProgram;
use std::collections::HashMap;

/// A place in the graph; what it needs stands before it.
pub type OpId = usize;

/// An operation on lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// A number, by its bits.
    Constant(u32),
    /// An input of the step.
    Input(usize),
    /// A parameter.
    Param(usize),
    /// A state of the step before.
    Previous(usize),
    /// The gradient that comes back from the next step to a state.
    StateGradient(usize),
    /// The gradient that comes from outside to a signal.
    SignalGradient(usize),
    /// The value, with no gradient.
    Detach(OpId),
    /// 1 above 0, else 0, with the surrogate as its derivative.
    Spike(OpId),
    /// A function of one value.
    Unary(Unary, OpId),
    /// A function of two values.
    Binary(Binary, OpId, OpId),
    /// `a * b + c`, rounded once.
    MulAdd(OpId, OpId, OpId),
    /// `c - a * b`, rounded once.
    MulSub(OpId, OpId, OpId),
    /// The second where the first is not 0, else the third.
    Select(OpId, OpId, OpId),
}

/// Functions of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Unary {
    Negate,
    Abs,
    Exp,
    Log,
    Sqrt,
    Tanh,
    Sin,
    Cos,
    Sigmoid,
    Sign,
    Floor,
    Heaviside,
}

/// Functions of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    Less,
    LessEqual,
    Equal,
    NotEqual,
}

impl Unary {
    /// The result for one number. Functions are the binary's own: a C library of another machine may round otherwise.
    #[inline(always)]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Unary::Negate => -x,
            Unary::Abs => x.abs(),
            Unary::Exp => libm::exp(f64::from(x)) as f32,
            Unary::Log => libm::logf(x),
            Unary::Sqrt => x.sqrt(),
            Unary::Tanh => libm::tanh(f64::from(x)) as f32,
            Unary::Sin => libm::sinf(x),
            Unary::Cos => libm::cosf(x),
            Unary::Sigmoid => 1.0 / (1.0 + Unary::Exp.apply(-x)),
            Unary::Sign => f32::from(u8::from(x > 0.0)) - f32::from(u8::from(x < 0.0)),
            Unary::Floor => x.floor(),
            Unary::Heaviside => f32::from(u8::from(x > 0.0)),
        }
    }
}

impl Binary {
    /// The result for two numbers.
    #[inline(always)]
    pub fn apply(self, a: f32, b: f32) -> f32 {
        let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Pow => libm::powf(a, b),
            Binary::Min => a.min(b),
            Binary::Max => a.max(b),
            Binary::Less => truth(a < b),
            Binary::LessEqual => truth(a <= b),
            Binary::Equal => truth(a == b),
            Binary::NotEqual => truth(a != b),
        }
    }
}

/// The operations of a step and of its reverse pass.
#[derive(Debug, Default)]
pub struct Graph {
    /// The operations.
    pub ops: Vec<Op>,
    known: HashMap<Op, OpId>,
    /// Whether the step chooses between branches, so that the gradient of one that was not taken has to be kept at 0.
    guarded: bool,
    /// The new value of each state.
    pub states: Vec<OpId>,
    /// The value of each signal.
    pub signals: Vec<OpId>,
}

/// What the reverse pass of a step gives.
#[derive(Debug)]
pub struct Reverse {
    /// Gradients of the states of the step before.
    pub previous: Vec<OpId>,
    /// Gradients of the inputs.
    pub inputs: Vec<OpId>,
    /// Gradients of the parameters, to be summed over time.
    pub params: Vec<OpId>,
}

impl Graph {
    /// The forward pass of a program's step. `inputs` are the program's own, then what its projections give.
    pub fn forward(program: &StepProgram, inputs: &[String]) -> Graph {
        let mut graph = Graph::default();
        let mut names: HashMap<String, OpId> = HashMap::new();
        for (i, name) in inputs.iter().enumerate() {
            names.insert(name.clone(), graph.push(Op::Input(i)));
        }
        for (i, param) in program.params.iter().enumerate() {
            names.insert(param.name.clone(), graph.push(Op::Param(i)));
        }
        for (i, (state, _)) in program.states.iter().enumerate() {
            names.insert(format!("prev.{state}"), graph.push(Op::Previous(i)));
        }
        for (name, expr) in &program.body {
            let node = graph.expr(expr, &names);
            names.insert(name.clone(), node);
        }
        graph.states = program.states.iter().map(|(name, _)| names[name]).collect();
        graph.signals = program.outputs.iter().map(|(_, name)| names[name]).collect();
        graph
    }

    /// Adds an operation, or finds it.
    pub fn push(&mut self, op: Op) -> OpId {
        if let Some(&node) = self.known.get(&op) {
            return node;
        }
        self.ops.push(op);
        self.known.insert(op, self.ops.len() - 1);
        self.ops.len() - 1
    }

    /// A gradient of a state that nothing was done to, as an operation of its own.
    pub fn copied(&mut self, node: OpId) -> OpId {
        match self.ops[node] {
            Op::StateGradient(_) => {
                let zero = self.constant(0.0);
                self.push(Op::Binary(Binary::Add, node, zero))
            }
            _ => node,
        }
    }

    fn constant(&mut self, value: f32) -> OpId {
        self.push(Op::Constant(value.to_bits()))
    }

    fn value(&self, node: OpId) -> Option<f32> {
        match self.ops[node] {
            Op::Constant(bits) => Some(f32::from_bits(bits)),
            _ => None,
        }
    }

    fn unary(&mut self, op: Unary, x: OpId) -> OpId {
        match (op, self.value(x), self.ops[x]) {
            (_, Some(value), _) => self.constant(op.apply(value)),
            // a - b > 0 exactly where a > b, also for the smallest numbers.
            (Unary::Heaviside, None, Op::Binary(Binary::Sub, a, b)) => self.binary(Binary::Less, b, a),
            (_, None, _) => self.push(Op::Unary(op, x)),
        }
    }

    fn binary(&mut self, op: Binary, a: OpId, b: OpId) -> OpId {
        match (op, self.value(a), self.value(b)) {
            (_, Some(x), Some(y)) => self.constant(op.apply(x, y)),
            (Binary::Add, Some(0.0), _) | (Binary::Mul, Some(1.0), _) => b,
            (Binary::Add | Binary::Sub, _, Some(0.0)) | (Binary::Mul | Binary::Div | Binary::Pow, _, Some(1.0)) => a,
            (Binary::Sub, ..) if let Some((x, y)) = self.product(b) => self.push(Op::MulSub(x, y, a)),
            (Binary::Pow, _, Some(0.0)) => self.constant(1.0),
            (Binary::Pow, _, Some(2.0)) => self.binary(Binary::Mul, a, a),
            (Binary::Pow, _, Some(n)) if n == 3.0 || n == 4.0 => {
                let square = self.binary(Binary::Mul, a, a);
                let other = if n == 3.0 { a } else { square };
                self.binary(Binary::Mul, square, other)
            }
            (Binary::Add, ..) => match (self.product(a), self.product(b)) {
                (Some((x, y)), _) => self.push(Op::MulAdd(x, y, b)),
                (None, Some((x, y))) => self.push(Op::MulAdd(x, y, a)),
                (None, None) => self.push(Op::Binary(op, a.min(b), a.max(b))),
            },
            (Binary::Mul | Binary::Min | Binary::Max, ..) => self.push(Op::Binary(op, a.min(b), a.max(b))),
            _ => self.push(Op::Binary(op, a, b)),
        }
    }

    fn product(&self, node: OpId) -> Option<(OpId, OpId)> {
        match self.ops[node] {
            Op::Binary(Binary::Mul, a, b) => Some((a, b)),
            _ => None,
        }
    }

    fn select(&mut self, condition: OpId, a: OpId, b: OpId) -> OpId {
        match self.value(condition) {
            Some(value) => {
                if value != 0.0 {
                    a
                } else {
                    b
                }
            }
            None if a == b => a,
            None => self.push(Op::Select(condition, a, b)),
        }
    }

    fn expr(&mut self, expr: &Expr, names: &HashMap<String, OpId>) -> OpId {
        // Numbers are folded in f64, as the reference executor does.
        if let Expr::Binary(..) | Expr::Call(..) = expr
            && let Ok(value) = expr.eval(&|_| None)
        {
            return self.constant(value as f32);
        }
        match expr {
            Expr::Number(x) => self.constant(*x as f32),
            Expr::Name(name) => match names.get(&name.text) {
                Some(&node) => node,
                // Names were checked, so what is left is a constant of the language.
                None => self.constant(constant(&name.text).unwrap_or(f64::NAN) as f32),
            },
            Expr::Negate(inner) => {
                let inner = self.expr(inner, names);
                self.unary(Unary::Negate, inner)
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.expr(a, names), self.expr(b, names));
                match op {
                    BinaryOp::Add => self.binary(Binary::Add, a, b),
                    BinaryOp::Sub => self.binary(Binary::Sub, a, b),
                    BinaryOp::Mul => self.binary(Binary::Mul, a, b),
                    BinaryOp::Div => self.binary(Binary::Div, a, b),
                    BinaryOp::Pow => self.binary(Binary::Pow, a, b),
                    BinaryOp::Less => self.binary(Binary::Less, a, b),
                    BinaryOp::LessEqual => self.binary(Binary::LessEqual, a, b),
                    BinaryOp::Greater => self.binary(Binary::Less, b, a),
                    BinaryOp::GreaterEqual => self.binary(Binary::LessEqual, b, a),
                    BinaryOp::Equal => self.binary(Binary::Equal, a, b),
                    BinaryOp::NotEqual => self.binary(Binary::NotEqual, a, b),
                }
            }
            Expr::Call(function, arguments) => {
                let nodes: Vec<OpId> = arguments.iter().map(|argument| self.expr(argument, names)).collect();
                self.call(*function, &nodes)
            }
        }
    }

    fn call(&mut self, function: Function, nodes: &[OpId]) -> OpId {
        let x = nodes[0];
        match function {
            Function::Abs => self.unary(Unary::Abs, x),
            Function::Exp => self.unary(Unary::Exp, x),
            Function::Log => self.unary(Unary::Log, x),
            Function::Sqrt => self.unary(Unary::Sqrt, x),
            Function::Tanh => self.unary(Unary::Tanh, x),
            Function::Sin => self.unary(Unary::Sin, x),
            Function::Cos => self.unary(Unary::Cos, x),
            Function::Sigmoid => self.unary(Unary::Sigmoid, x),
            Function::Sign => self.unary(Unary::Sign, x),
            Function::Floor => self.unary(Unary::Floor, x),
            Function::Heaviside => self.unary(Unary::Heaviside, x),
            Function::Min => self.binary(Binary::Min, x, nodes[1]),
            Function::Max => self.binary(Binary::Max, x, nodes[1]),
            Function::Where => self.select(x, nodes[1], nodes[2]),
            Function::Detach => self.push(Op::Detach(x)),
            Function::Spike => self.push(Op::Spike(x)),
            // `check` refuses it in equations.
            Function::Surrogate => self.constant(0.0),
        }
    }

    /// Adds the reverse pass for gradients that come to the states and some of the signals: `gradient of x = sum over what uses x of its gradient times its derivative`.
    pub fn reverse(&mut self, program: &StepProgram, inputs: usize, graded: &[bool]) -> Reverse {
        let forward = self.ops.len();
        self.guarded = program.chooses();
        let mut gradients: Vec<Option<OpId>> = vec![None; forward];
        let (states, signals) = (self.states.clone(), self.signals.clone());
        for (i, node) in states.into_iter().enumerate() {
            let seed = self.push(Op::StateGradient(i));
            self.add_gradient(&mut gradients, node, seed);
        }
        for (i, node) in signals.into_iter().enumerate().filter(|(i, _)| graded[*i]) {
            let seed = self.push(Op::SignalGradient(i));
            self.add_gradient(&mut gradients, node, seed);
        }
        for node in (0..forward).rev() {
            if let Some(gradient) = gradients[node] {
                self.reverse_one(node, gradient, &mut gradients, &program.surrogate);
            }
        }
        let zero = self.constant(0.0);
        let of = |graph: &Graph, op: Op| {
            graph.known.get(&op).and_then(|&n| gradients.get(n).copied().flatten()).unwrap_or(zero)
        };
        Reverse {
            previous: (0..program.states.len()).map(|i| of(self, Op::Previous(i))).collect(),
            inputs: (0..inputs).map(|i| of(self, Op::Input(i))).collect(),
            params: (0..program.params.len()).map(|i| of(self, Op::Param(i))).collect(),
        }
    }

    /// A gradient times a derivative. A branch that was not taken has the gradient 0 also where its derivative is
    /// infinite or not defined, so such a product is not left to arithmetic.
    fn chain(&mut self, g: OpId, slope: OpId) -> OpId {
        // In the forward pass nothing may be taken for 0 that is 0 times a number which is not finite.
        if self.value(g) == Some(0.0) || self.value(slope) == Some(0.0) {
            return self.constant(0.0);
        }
        let product = self.binary(Binary::Mul, g, slope);
        if self.value(slope).is_some_and(f32::is_finite) { product } else { self.unless_zero(g, product) }
    }

    /// `part`, and 0 where the gradient `g` that it comes from is 0, as behind a branch that was not taken.
    fn unless_zero(&mut self, g: OpId, part: OpId) -> OpId {
        if !self.guarded {
            return part;
        }
        let zero = self.constant(0.0);
        self.select(g, part, zero)
    }

    /// The parts of a gradient that belong to the one of two values that was taken and to the other: all of it where
    /// `below < above`, nothing where it is the other way round, and half of it each where they are equal.
    fn shares(&mut self, below: OpId, above: OpId, g: OpId) -> (OpId, OpId) {
        let (zero, half) = (self.constant(0.0), self.constant(0.5));
        let half = self.binary(Binary::Mul, g, half);
        let [first, second] = [[below, above], [above, below]].map(|[a, b]| {
            let (less, equal) = (self.binary(Binary::Less, a, b), self.binary(Binary::Equal, a, b));
            let tie = self.select(equal, half, zero);
            self.select(less, g, tie)
        });
        (first, second)
    }

    fn add_gradient(&mut self, gradients: &mut [Option<OpId>], node: OpId, gradient: OpId) {
        if self.value(gradient) == Some(0.0) {
            return;
        }
        gradients[node] = Some(match gradients[node] {
            Some(sum) => self.binary(Binary::Add, sum, gradient),
            None => gradient,
        });
    }

    fn reverse_one(&mut self, node: OpId, g: OpId, gradients: &mut [Option<OpId>], surrogate: &Expr) {
        let one = self.constant(1.0);
        let zero = self.constant(0.0);
        match self.ops[node] {
            Op::Constant(_)
            | Op::Input(_)
            | Op::Param(_)
            | Op::Previous(_)
            | Op::StateGradient(_)
            | Op::SignalGradient(_)
            | Op::Detach(_) => {}
            Op::Spike(z) => {
                let slope = self.expr(surrogate, &HashMap::from([("x".to_string(), z)]));
                let part = self.chain(g, slope);
                self.add_gradient(gradients, z, part);
            }
            Op::MulAdd(a, b, c) => {
                let (da, db) = (self.chain(g, b), self.chain(g, a));
                self.add_gradient(gradients, a, da);
                self.add_gradient(gradients, b, db);
                self.add_gradient(gradients, c, g);
            }
            Op::MulSub(a, b, c) => {
                let minus = self.unary(Unary::Negate, g);
                let (da, db) = (self.chain(minus, b), self.chain(minus, a));
                self.add_gradient(gradients, a, da);
                self.add_gradient(gradients, b, db);
                self.add_gradient(gradients, c, g);
            }
            Op::Select(condition, a, b) => {
                let (da, db) = (self.select(condition, g, zero), self.select(condition, zero, g));
                self.add_gradient(gradients, a, da);
                self.add_gradient(gradients, b, db);
            }
            Op::Unary(op, x) => {
                let slope = match op {
                    Unary::Negate => self.constant(-1.0),
                    Unary::Abs => self.unary(Unary::Sign, x),
                    Unary::Exp => node,
                    Unary::Log => self.binary(Binary::Div, one, x),
                    Unary::Sqrt => {
                        let half = self.constant(0.5);
                        self.binary(Binary::Div, half, node)
                    }
                    Unary::Tanh => {
                        let square = self.binary(Binary::Mul, node, node);
                        self.binary(Binary::Sub, one, square)
                    }
                    Unary::Sin => self.unary(Unary::Cos, x),
                    Unary::Cos => {
                        let sin = self.unary(Unary::Sin, x);
                        self.unary(Unary::Negate, sin)
                    }
                    Unary::Sigmoid => {
                        let rest = self.binary(Binary::Sub, one, node);
                        self.binary(Binary::Mul, node, rest)
                    }
                    Unary::Sign | Unary::Floor | Unary::Heaviside => return,
                };
                let part = if op == Unary::Negate { self.unary(Unary::Negate, g) } else { self.chain(g, slope) };
                self.add_gradient(gradients, x, part);
            }
            Op::Binary(op, a, b) => self.reverse_binary(op, [node, a, b], g, gradients),
        }
    }

    fn reverse_binary(&mut self, op: Binary, [node, a, b]: [OpId; 3], g: OpId, gradients: &mut [Option<OpId>]) {
        let zero = self.constant(0.0);
        let (da, db) = match op {
            Binary::Add => (g, g),
            Binary::Sub => (g, self.unary(Unary::Negate, g)),
            Binary::Mul => (self.chain(g, b), self.chain(g, a)),
            Binary::Div => {
                let quotient = self.binary(Binary::Div, g, b);
                let finite = self.value(b).is_some_and(|b| b.recip().is_finite());
                let da = if finite { quotient } else { self.unless_zero(g, quotient) };
                let product = self.chain(da, node);
                (da, self.unary(Unary::Negate, product))
            }
            Binary::Pow => {
                let one = self.constant(1.0);
                let less = self.binary(Binary::Sub, b, one);
                let power = self.binary(Binary::Pow, a, less);
                let scaled = self.binary(Binary::Mul, b, power);
                let da = self.chain(g, scaled);
                let db = match self.value(b) {
                    Some(_) => zero,
                    None => {
                        let log = self.unary(Unary::Log, a);
                        let scaled = self.binary(Binary::Mul, node, log);
                        self.chain(g, scaled)
                    }
                };
                (da, db)
            }
            Binary::Min => self.shares(a, b, g),
            Binary::Max => self.shares(b, a, g),
            Binary::Less | Binary::LessEqual | Binary::Equal | Binary::NotEqual => return,
        };
        self.add_gradient(gradients, a, da);
        self.add_gradient(gradients, b, db);
    }
}
