//! Expressions as text with as few brackets as needed; parsing it gives the expression back.

use super::{BinaryOp, Expr};
use std::fmt::{Display, Formatter, Result};

/// How tightly the outermost operation of an expression binds.
fn binding(expr: &Expr) -> u8 {
    match expr {
        Expr::Number(x) if *x < 0.0 => 7,
        Expr::Number(_) | Expr::Name(_) | Expr::Call(..) => 10,
        Expr::Negate(_) => 7,
        Expr::Binary(op, ..) => op.binding(),
    }
}

impl BinaryOp {
    fn binding(self) -> u8 {
        match self {
            BinaryOp::Add | BinaryOp::Sub => 3,
            BinaryOp::Mul | BinaryOp::Div => 5,
            BinaryOp::Pow => 9,
            BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::Equal
            | BinaryOp::NotEqual => 1,
        }
    }

    /// As it is written.
    fn sign(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Pow => "^",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
        }
    }
}

fn bracketed(expr: &Expr, least: u8, f: &mut Formatter<'_>) -> Result {
    if binding(expr) < least { write!(f, "({expr})") } else { write!(f, "{expr}") }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Expr::Number(x) if x.fract() == 0.0 && x.abs() < 1e15 => write!(f, "{x:.0}"),
            Expr::Number(x) => write!(f, "{x:?}"),
            Expr::Name(name) => write!(f, "{}", name.text),
            Expr::Negate(inner) => {
                write!(f, "-")?;
                bracketed(inner, 7, f)
            }
            Expr::Binary(BinaryOp::Pow, a, b) => {
                bracketed(a, 10, f)?;
                write!(f, "^")?;
                bracketed(b, 7, f)
            }
            Expr::Binary(op, a, b) => {
                let own = op.binding();
                bracketed(a, if own == 1 { 2 } else { own }, f)?;
                write!(f, " {} ", op.sign())?;
                bracketed(b, own + 1, f)
            }
            Expr::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                for (i, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if i > 0 { ", " } else { "" })?;
                }
                write!(f, ")")
            }
        }
    }
}
