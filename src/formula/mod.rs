//! The small expression language of neurons, surrogates, datasets and `[let]`: parse, print, evaluate, differentiate.
//!
//! Numbers, names (also with dots, `prev.mem`), `+ - * / ^`, comparisons whose value is 1 or 0, and the functions of
//! [`Function`]. Everything is a number; what the names stand for (a number, a lane of neurons) is the caller's.

mod derivative;
mod lexer;
mod parser;
mod print;

pub use parser::{parse, parse_equations};

/// A range of bytes in the text that was parsed.
pub type Characters = std::ops::Range<usize>;

/// A name with its place; two are equal if their texts are.
#[derive(Debug, Clone)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stood.
    pub span: Characters,
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A number, not negative when it comes from the parser.
    Number(f64),
    /// A name.
    Name(Name),
    /// The opposite.
    Negate(Box<Expr>),
    /// An operation on two values.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// A function with as many arguments as it takes.
    Call(Function, Vec<Expr>),
}

/// Operations on two values. Comparisons give 1 or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `a ^ b`, from right to left
    Pow,
    /// `a < b`
    Less,
    /// `a <= b`
    LessEqual,
    /// `a > b`
    Greater,
    /// `a >= b`
    GreaterEqual,
    /// `a == b`
    Equal,
    /// `a != b`
    NotEqual,
}

/// The functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Absolute value.
    Abs,
    /// Exponential.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// Hyperbolic tangent.
    Tanh,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// -1, 0 or 1.
    Sign,
    /// Largest whole number not above.
    Floor,
    /// Smaller of two.
    Min,
    /// Larger of two.
    Max,
    /// `where(c, a, b)`: `a` where `c` is not 0, else `b`.
    Where,
    /// 1 above 0, else 0; no derivative.
    Heaviside,
    /// As `heaviside`, with a surrogate as its derivative.
    Spike,
    /// The value, without a derivative.
    Detach,
    /// The derivative of `spike`.
    Surrogate,
}

impl Function {
    /// All functions.
    pub const ALL: [Function; 17] = [
        Function::Abs,
        Function::Exp,
        Function::Log,
        Function::Sqrt,
        Function::Tanh,
        Function::Sin,
        Function::Cos,
        Function::Sigmoid,
        Function::Sign,
        Function::Floor,
        Function::Min,
        Function::Max,
        Function::Where,
        Function::Heaviside,
        Function::Spike,
        Function::Detach,
        Function::Surrogate,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Function::Abs => "abs",
            Function::Exp => "exp",
            Function::Log => "log",
            Function::Sqrt => "sqrt",
            Function::Tanh => "tanh",
            Function::Sin => "sin",
            Function::Cos => "cos",
            Function::Sigmoid => "sigmoid",
            Function::Sign => "sign",
            Function::Floor => "floor",
            Function::Min => "min",
            Function::Max => "max",
            Function::Where => "where",
            Function::Heaviside => "heaviside",
            Function::Spike => "spike",
            Function::Detach => "detach",
            Function::Surrogate => "surrogate",
        }
    }

    /// How many arguments it takes.
    pub fn arity(self) -> usize {
        match self {
            Function::Min | Function::Max => 2,
            Function::Where => 3,
            _ => 1,
        }
    }

    /// The function of a name.
    pub fn named(name: &str) -> Option<Function> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }
}

/// What is wrong with a formula, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct FormulaError {
    /// What is wrong.
    pub message: String,
    /// Where, in the text of the formula.
    pub span: Characters,
    /// A next step.
    pub help: Option<String>,
}

/// `name = expression`.
#[derive(Debug, Clone, PartialEq)]
pub struct Equation {
    /// What is assigned.
    pub name: Name,
    /// Its value.
    pub expr: Expr,
}

/// Whether a text can name a value in formulas: letters, digits and `_`, and neither a function nor a constant.
pub fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && Function::named(text).is_none()
        && constant(text).is_none()
}

/// The value of a constant of the language.
pub fn constant(name: &str) -> Option<f64> {
    (name == "pi").then_some(std::f64::consts::PI)
}

impl Expr {
    /// A number.
    pub fn number(value: f64) -> Expr {
        Expr::Number(value)
    }

    /// A name that stands nowhere.
    pub fn name(text: &str) -> Expr {
        Expr::Name(Name { text: text.into(), span: 0..0 })
    }

    fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Number(_) | Expr::Name(_) => Vec::new(),
            Expr::Negate(inner) => vec![inner],
            Expr::Binary(_, a, b) => vec![a, b],
            Expr::Call(_, arguments) => arguments.iter().collect(),
        }
    }

    /// Every occurrence of a name, from left to right.
    pub fn names(&self) -> Vec<&Name> {
        match self {
            Expr::Name(name) => vec![name],
            _ => self.children().into_iter().flat_map(Expr::names).collect(),
        }
    }

    /// Its operands, with whether a gradient flows back to each: not through what is flat, and not to what is
    /// multiplied with the number 0 or raised to it.
    pub fn operands(&self) -> Vec<(&Expr, bool)> {
        let is_zero = |expr: &Expr| expr.eval(&|_| None).is_ok_and(|value| value == 0.0);
        match self {
            Expr::Binary(BinaryOp::Mul, a, b) => vec![(a, !is_zero(b)), (b, !is_zero(a))],
            Expr::Binary(BinaryOp::Pow, a, b) => vec![(a, !is_zero(b)), (b, true)],
            Expr::Call(Function::Where, arguments) => {
                arguments.iter().enumerate().map(|(i, argument)| (argument, i > 0)).collect()
            }
            _ => self.children().into_iter().map(|child| (child, !self.is_flat())).collect(),
        }
    }

    /// Names that gradients flow back to.
    pub fn taught(&self) -> Vec<&Name> {
        match self {
            Expr::Name(name) => vec![name],
            _ => self.operands().into_iter().filter(|(_, taught)| *taught).flat_map(|(x, _)| x.taught()).collect(),
        }
    }

    /// Whether it is a step of one kind or another, whose derivative is 0.
    fn is_flat(&self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        use Function::{Detach, Floor, Heaviside, Sign, Surrogate};
        matches!(self, Expr::Binary(Less | LessEqual | Greater | GreaterEqual | Equal | NotEqual, ..))
            || matches!(self, Expr::Call(Detach | Floor | Heaviside | Sign | Surrogate, _))
    }

    /// How many parts of it, itself among them, are such.
    pub fn count(&self, is_such: &dyn Fn(&Expr) -> bool) -> usize {
        usize::from(is_such(self)) + self.children().into_iter().map(|child| child.count(is_such)).sum::<usize>()
    }

    /// Its numbers, names, operations and functions.
    pub fn size(&self) -> usize {
        self.count(&|_| true)
    }

    /// Whether it is a call of a function.
    pub fn is_call(&self, function: Function) -> bool {
        matches!(self, Expr::Call(called, _) if *called == function)
    }

    /// Whether it has a power other than a whole one of `up_to` at most, which is a product.
    pub fn has_power(&self, up_to: f64) -> bool {
        let product = |b: &Expr| matches!(b, Expr::Number(n) if n.fract() == 0.0 && (0.0..=up_to).contains(n));
        self.count(&|expr| matches!(expr, Expr::Binary(BinaryOp::Pow, _, b) if !product(b))) > 0
    }

    /// Whether a function is called anywhere.
    pub fn calls(&self, function: Function) -> bool {
        self.is_call(function) || self.children().into_iter().any(|child| child.calls(function))
    }

    /// The expression with some names replaced.
    pub fn substitute(&self, with: &dyn Fn(&str) -> Option<Expr>) -> Expr {
        let again = |expr: &Expr| Box::new(expr.substitute(with));
        match self {
            Expr::Number(x) => Expr::Number(*x),
            Expr::Name(name) => with(&name.text).unwrap_or_else(|| self.clone()),
            Expr::Negate(inner) => Expr::Negate(again(inner)),
            Expr::Binary(op, a, b) => Expr::Binary(*op, again(a), again(b)),
            Expr::Call(function, arguments) => {
                Expr::Call(*function, arguments.iter().map(|argument| argument.substitute(with)).collect())
            }
        }
    }

    /// The value for given names; constants are known. A spike has the value of `heaviside`.
    ///
    /// # Errors
    /// A name without a value, and `surrogate`, which has none of its own.
    pub fn eval(&self, lookup: &dyn Fn(&str) -> Option<f64>) -> Result<f64, FormulaError> {
        match self {
            Expr::Number(x) => Ok(*x),
            Expr::Name(name) => lookup(&name.text).or_else(|| constant(&name.text)).ok_or_else(|| FormulaError {
                message: format!("unknown name `{}`", name.text),
                span: name.span.clone(),
                help: None,
            }),
            Expr::Negate(inner) => Ok(-inner.eval(lookup)?),
            Expr::Binary(op, a, b) => Ok(op.apply(a.eval(lookup)?, b.eval(lookup)?)),
            Expr::Call(function, arguments) => {
                let values = arguments.iter().map(|a| a.eval(lookup)).collect::<Result<Vec<f64>, _>>()?;
                function.apply(&values).ok_or_else(|| FormulaError {
                    message: "`surrogate` has no value here: it is only the derivative of `spike`".into(),
                    span: 0..0,
                    help: None,
                })
            }
        }
    }
}

impl BinaryOp {
    /// The result for two numbers. Powers, as all functions, are the binary's own: a C library of another machine may
    /// round otherwise.
    pub fn apply(self, a: f64, b: f64) -> f64 {
        let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
        match self {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div => a / b,
            BinaryOp::Pow if b == 2.0 => a * a,
            BinaryOp::Pow => libm::pow(a, b),
            BinaryOp::Less => truth(a < b),
            BinaryOp::LessEqual => truth(a <= b),
            BinaryOp::Greater => truth(a > b),
            BinaryOp::GreaterEqual => truth(a >= b),
            BinaryOp::Equal => truth(a == b),
            BinaryOp::NotEqual => truth(a != b),
        }
    }
}

impl Function {
    /// The result for numbers; none for `surrogate` and for a wrong number of them.
    fn apply(self, values: &[f64]) -> Option<f64> {
        Some(match (self, values) {
            (Function::Abs, [x]) => x.abs(),
            (Function::Exp, [x]) => libm::exp(*x),
            (Function::Log, [x]) => libm::log(*x),
            (Function::Sqrt, [x]) => x.sqrt(),
            (Function::Tanh, [x]) => libm::tanh(*x),
            (Function::Sin, [x]) => libm::sin(*x),
            (Function::Cos, [x]) => libm::cos(*x),
            (Function::Sigmoid, [x]) => 1.0 / (1.0 + libm::exp(-x)),
            (Function::Sign, [x]) => f64::from(u8::from(*x > 0.0)) - f64::from(u8::from(*x < 0.0)),
            (Function::Floor, [x]) => x.floor(),
            (Function::Min, [a, b]) => a.min(*b),
            (Function::Max, [a, b]) => a.max(*b),
            (Function::Where, [c, a, b]) => *if *c != 0.0 { a } else { b },
            (Function::Heaviside | Function::Spike, [x]) => f64::from(u8::from(*x > 0.0)),
            (Function::Detach, [x]) => *x,
            _ => return None,
        })
    }
}

/// Expressions that fold 0, 1 and numbers, so that a derivative reads like the textbook's.
pub mod build {
    use super::{BinaryOp, Expr, Function};

    fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
        match (&a, &b) {
            (Expr::Number(x), Expr::Number(y)) => Expr::Number(op.apply(*x, *y)),
            _ => Expr::Binary(op, Box::new(a), Box::new(b)),
        }
    }

    fn is(expr: &Expr, number: f64) -> bool {
        *expr == Expr::Number(number)
    }

    /// `a + b`
    pub fn add(a: Expr, b: Expr) -> Expr {
        match (is(&a, 0.0), is(&b, 0.0)) {
            (true, _) => b,
            (_, true) => a,
            _ => binary(BinaryOp::Add, a, b),
        }
    }

    /// `a - b`
    pub fn sub(a: Expr, b: Expr) -> Expr {
        match (is(&a, 0.0), is(&b, 0.0)) {
            (_, true) => a,
            (true, _) => neg(b),
            _ => binary(BinaryOp::Sub, a, b),
        }
    }

    /// `a * b`
    pub fn mul(a: Expr, b: Expr) -> Expr {
        if is(&a, 0.0) || is(&b, 0.0) {
            return Expr::Number(0.0);
        }
        match (&a, &b) {
            (Expr::Number(1.0), _) => b,
            (_, Expr::Number(1.0)) => a,
            (Expr::Number(-1.0), _) => neg(b),
            (_, Expr::Number(-1.0)) => neg(a),
            _ => binary(BinaryOp::Mul, a, b),
        }
    }

    /// `a / b`
    pub fn div(a: Expr, b: Expr) -> Expr {
        match (is(&a, 0.0), is(&b, 1.0)) {
            (true, _) => a,
            (_, true) => a,
            _ => binary(BinaryOp::Div, a, b),
        }
    }

    /// `a ^ b`
    pub fn pow(a: Expr, b: Expr) -> Expr {
        match (is(&b, 0.0), is(&b, 1.0)) {
            (true, _) => Expr::Number(1.0),
            (_, true) => a,
            _ => binary(BinaryOp::Pow, a, b),
        }
    }

    /// `-a`
    pub fn neg(a: Expr) -> Expr {
        match a {
            Expr::Number(x) => Expr::Number(if x == 0.0 { 0.0 } else { -x }),
            Expr::Negate(inner) => *inner,
            other => Expr::Negate(Box::new(other)),
        }
    }

    /// A function of one value.
    pub fn call(function: Function, argument: Expr) -> Expr {
        Expr::Call(function, vec![argument])
    }

    /// `where(c, a, b)`, folded where both are the same.
    pub fn choose(c: Expr, a: Expr, b: Expr) -> Expr {
        if a == b { a } else { Expr::Call(Function::Where, vec![c, a, b]) }
    }
}

#[cfg(test)]
mod tests;
