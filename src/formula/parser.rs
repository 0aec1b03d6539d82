//! Tokens to expressions, by precedence climbing. Text, nesting and depth are limited, so that hostile input is
//! refused quickly and no recursion runs away.

use super::lexer::{Token, tokens};
use super::{BinaryOp, Characters, Equation, Expr, FormulaError, Function, Name, constant};

/// The longest formula or list of equations, in bytes.
const MAX_BYTES: usize = 16 * 1024;
/// The deepest nesting of brackets, signs and powers.
const MAX_NESTING: usize = 64;
/// The deepest expression; a sum of many terms is one level deep for each.
const MAX_DEPTH: usize = 1000;

/// Parses one formula. Line ends are blanks.
pub fn parse(text: &str) -> Result<Expr, FormulaError> {
    let mut list = limited(text)?;
    list.retain(|(token, _)| *token != Token::Newline);
    let mut parser = Parser { tokens: &list, at: 0, end: text.len(), nesting: 0 };
    let expr = parser.expression(0)?.expr;
    match parser.peek() {
        None => Ok(expr),
        Some((_, span)) => Err(parser.unexpected(span.clone())),
    }
}

/// Parses equations, `name = formula`, one a line; a line goes on while a bracket is open.
pub fn parse_equations(text: &str) -> Result<Vec<Equation>, Vec<FormulaError>> {
    let list = limited(text).map_err(|error| vec![error])?;
    let (mut equations, mut errors) = (Vec::new(), Vec::new());
    for line in list.split(|(token, _)| *token == Token::Newline).filter(|line| !line.is_empty()) {
        match equation(line) {
            Ok(equation) => equations.push(equation),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(equations) } else { Err(errors) }
}

fn limited(text: &str) -> Result<Vec<(Token, Characters)>, FormulaError> {
    if text.len() > MAX_BYTES {
        let message = format!("formula of {} bytes; at most {MAX_BYTES} are allowed", text.len());
        return Err(FormulaError { message, span: 0..0, help: None });
    }
    tokens(text)
}

fn equation(line: &[(Token, Characters)]) -> Result<Equation, FormulaError> {
    let whole = line[0].1.start..line[line.len() - 1].1.end;
    let [(Token::Name(text), span), (Token::Sign("="), _), right @ ..] = line else {
        return Err(error("expected an equation `name = formula`", whole));
    };
    if text.contains('.') || Function::named(text).is_some() || constant(text).is_some() {
        let message = format!("`{text}` cannot be assigned");
        let help = if text.contains('.') { "values of the step before are read only" } else { "the name is taken" };
        return Err(FormulaError { message, span: span.clone(), help: Some(help.into()) });
    }
    let mut parser = Parser { tokens: right, at: 0, end: whole.end, nesting: 0 };
    let expr = parser.expression(0)?.expr;
    match parser.peek() {
        None => Ok(Equation { name: Name { text: text.clone(), span: span.clone() }, expr }),
        Some((_, span)) => Err(parser.unexpected(span.clone())),
    }
}

fn error(message: &str, span: Characters) -> FormulaError {
    FormulaError { message: message.into(), span, help: None }
}

/// An expression and how deep it is.
struct Parsed {
    expr: Expr,
    depth: usize,
}

struct Parser<'a> {
    tokens: &'a [(Token, Characters)],
    at: usize,
    end: usize,
    nesting: usize,
}

/// The operator of a sign, how tightly it binds, and how tightly what follows must.
fn operator(sign: &str) -> Option<(BinaryOp, u8, u8)> {
    Some(match sign {
        "<" => (BinaryOp::Less, 1, 2),
        "<=" => (BinaryOp::LessEqual, 1, 2),
        ">" => (BinaryOp::Greater, 1, 2),
        ">=" => (BinaryOp::GreaterEqual, 1, 2),
        "==" => (BinaryOp::Equal, 1, 2),
        "!=" => (BinaryOp::NotEqual, 1, 2),
        "+" => (BinaryOp::Add, 3, 4),
        "-" => (BinaryOp::Sub, 3, 4),
        "*" => (BinaryOp::Mul, 5, 6),
        "/" => (BinaryOp::Div, 5, 6),
        "^" => (BinaryOp::Pow, 9, 7),
        _ => return None,
    })
}

/// A minus in front binds tighter than `*` and looser than `^`.
const NEGATE: u8 = 7;

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a (Token, Characters)> {
        self.tokens.get(self.at)
    }

    fn sign(&self) -> Option<&'static str> {
        match self.peek() {
            Some((Token::Sign(sign), _)) => Some(sign),
            _ => None,
        }
    }

    fn unexpected(&self, span: Characters) -> FormulaError {
        match self.tokens.get(self.at).map(|(token, _)| token) {
            Some(Token::Sign("=")) => {
                let help = Some("a comparison is written `==`".to_string());
                FormulaError { message: "unexpected `=`".into(), span, help }
            }
            Some(Token::Sign(")")) => error("this bracket closes none", span),
            Some(Token::Sign(sign)) => error(&format!("unexpected `{sign}`"), span),
            _ => error("expected an operator before this", span),
        }
    }

    fn nested<T>(
        &mut self,
        span: Characters,
        body: impl FnOnce(&mut Self) -> Result<T, FormulaError>,
    ) -> Result<T, FormulaError> {
        if self.nesting == MAX_NESTING {
            return Err(error(&format!("nested deeper than {MAX_NESTING} levels"), span));
        }
        self.nesting += 1;
        let result = body(self);
        self.nesting -= 1;
        result
    }

    fn expression(&mut self, minimum: u8) -> Result<Parsed, FormulaError> {
        let mut left = self.prefix()?;
        let mut compared = false;
        while let Some((op, binds, follows)) = self.sign().and_then(operator) {
            if binds < minimum {
                break;
            }
            let span = self.tokens[self.at].1.clone();
            if binds == 1 && compared {
                let help = Some("put brackets around one of the comparisons".to_string());
                return Err(FormulaError { message: "comparisons cannot be chained".into(), span, help });
            }
            compared = binds == 1;
            self.at += 1;
            let right = self.nested(span.clone(), |parser| parser.expression(follows))?;
            let depth = 1 + left.depth.max(right.depth);
            if depth > MAX_DEPTH {
                return Err(error(&format!("more than {MAX_DEPTH} operations one upon the other"), span));
            }
            left = Parsed { expr: Expr::Binary(op, Box::new(left.expr), Box::new(right.expr)), depth };
        }
        Ok(left)
    }

    fn prefix(&mut self) -> Result<Parsed, FormulaError> {
        let Some((token, span)) = self.peek() else {
            let (before, at) = match self.at.checked_sub(1).and_then(|i| self.tokens.get(i)) {
                Some((_, span)) => (" after this", span.clone()),
                None => ("", self.end.saturating_sub(1).min(self.end)..self.end),
            };
            return Err(error(&format!("expected a value{before}"), at));
        };
        self.at += 1;
        let leaf = |expr: Expr| Ok(Parsed { expr, depth: 1 });
        match token {
            Token::Number(x) => leaf(Expr::Number(*x)),
            Token::Name(text) if self.sign() == Some("(") => self.call(text, span),
            Token::Name(text) if Function::named(text).is_some() => {
                Err(error(&format!("`{text}` is a function; its arguments stand in brackets"), span.clone()))
            }
            Token::Name(text) => leaf(Expr::Name(Name { text: text.clone(), span: span.clone() })),
            Token::Sign("-") => {
                let inner = self.nested(span.clone(), |parser| parser.expression(NEGATE))?;
                Ok(Parsed { expr: Expr::Negate(Box::new(inner.expr)), depth: inner.depth + 1 })
            }
            Token::Sign("(") => {
                let inner = self.nested(span.clone(), |parser| parser.expression(0))?;
                self.close(span)?;
                Ok(inner)
            }
            Token::Sign(sign) => Err(error(&format!("expected a value before `{sign}`"), span.clone())),
            Token::Newline => Err(error("expected a value", span.clone())),
        }
    }

    fn close(&mut self, opened: &Characters) -> Result<(), FormulaError> {
        match self.peek() {
            Some((Token::Sign(")"), _)) => {
                self.at += 1;
                Ok(())
            }
            // A line goes on while a bracket is open, so that the next equation looks like a part of this one.
            Some((Token::Name(_), _)) if matches!(self.tokens.get(self.at + 1), Some((Token::Sign("="), _))) => {
                Err(error("this bracket is not closed", opened.clone()))
            }
            Some((_, span)) => Err(self.unexpected(span.clone())),
            None => Err(error("this bracket is not closed", opened.clone())),
        }
    }

    fn call(&mut self, name: &str, span: &Characters) -> Result<Parsed, FormulaError> {
        let opened = self.tokens[self.at].1.clone();
        self.at += 1;
        let Some(function) = Function::named(name) else {
            let names = Function::ALL.iter().map(|f| f.name());
            let near = names.min_by_key(|other| strsim::damerau_levenshtein(name, other));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            return Err(FormulaError { message: format!("unknown function `{name}`"), span: span.clone(), help });
        };
        let mut arguments = Vec::new();
        if self.sign() != Some(")") {
            loop {
                arguments.push(self.nested(opened.clone(), |parser| parser.expression(0))?);
                if self.sign() != Some(",") {
                    break;
                }
                self.at += 1;
            }
        }
        self.close(&opened)?;
        if arguments.len() != function.arity() {
            let plural = if function.arity() == 1 { "argument" } else { "arguments" };
            let message = format!("`{name}` takes {} {plural}, not {}", function.arity(), arguments.len());
            return Err(error(&message, span.start..self.tokens[self.at - 1].1.end));
        }
        let depth = 1 + arguments.iter().map(|a| a.depth).max().unwrap_or(0);
        Ok(Parsed { expr: Expr::Call(function, arguments.into_iter().map(|a| a.expr).collect()), depth })
    }
}
