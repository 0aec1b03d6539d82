//! Symbolic derivatives: the textbook's table, and the conventions of spiking networks for what has none.

use super::build::{add, call, choose, div, mul, neg, pow, sub};
use super::{BinaryOp, Expr, Function};

impl Expr {
    /// The derivative with respect to a name; every other name is constant.
    ///
    /// `detach`, `heaviside`, `sign`, `floor` and comparisons have derivative 0; that of `spike(z)` is `surrogate(z)`;
    /// where `min` and `max` have none, the first argument's is taken.
    pub fn derivative(&self, of: &str) -> Expr {
        match self {
            Expr::Number(_) => Expr::Number(0.0),
            Expr::Name(name) => Expr::Number(if name.text == of { 1.0 } else { 0.0 }),
            Expr::Negate(inner) => neg(inner.derivative(of)),
            Expr::Binary(op, a, b) => binary(*op, a, b, of),
            Expr::Call(function, arguments) => called(*function, arguments, of),
        }
    }
}

fn binary(op: BinaryOp, a: &Expr, b: &Expr, of: &str) -> Expr {
    let (da, db) = (a.derivative(of), b.derivative(of));
    let (a, b) = (a.clone(), b.clone());
    match op {
        BinaryOp::Add => add(da, db),
        BinaryOp::Sub => sub(da, db),
        BinaryOp::Mul => add(mul(da, b), mul(a, db)),
        BinaryOp::Div => sub(div(da, b.clone()), div(mul(a, db), pow(b, Expr::Number(2.0)))),
        BinaryOp::Pow if db == Expr::Number(0.0) => mul(mul(b.clone(), pow(a, sub(b, Expr::Number(1.0)))), da),
        BinaryOp::Pow => {
            let inner = add(mul(db, call(Function::Log, a.clone())), div(mul(b.clone(), da), a.clone()));
            mul(pow(a, b), inner)
        }
        BinaryOp::Less
        | BinaryOp::LessEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterEqual
        | BinaryOp::Equal
        | BinaryOp::NotEqual => Expr::Number(0.0),
    }
}

fn called(function: Function, arguments: &[Expr], of: &str) -> Expr {
    let d = |i: usize| arguments[i].derivative(of);
    let x = || arguments[0].clone();
    let same = || Expr::Call(function, arguments.to_vec());
    let compare = |op: BinaryOp| Expr::Binary(op, Box::new(x()), Box::new(arguments[1].clone()));
    let one = || Expr::Number(1.0);
    let two = || Expr::Number(2.0);
    match function {
        Function::Abs => mul(call(Function::Sign, x()), d(0)),
        Function::Exp => mul(same(), d(0)),
        Function::Log => div(d(0), x()),
        Function::Sqrt => div(d(0), mul(two(), same())),
        Function::Tanh => mul(sub(one(), pow(same(), two())), d(0)),
        Function::Sin => mul(call(Function::Cos, x()), d(0)),
        Function::Cos => neg(mul(call(Function::Sin, x()), d(0))),
        Function::Sigmoid => mul(mul(same(), sub(one(), same())), d(0)),
        Function::Min => choose(compare(BinaryOp::LessEqual), d(0), d(1)),
        Function::Max => choose(compare(BinaryOp::GreaterEqual), d(0), d(1)),
        Function::Where => choose(x(), d(1), d(2)),
        Function::Spike => mul(call(Function::Surrogate, x()), d(0)),
        Function::Sign | Function::Floor | Function::Heaviside | Function::Detach | Function::Surrogate => {
            Expr::Number(0.0)
        }
    }
}
