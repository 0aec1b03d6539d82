//! Text to tokens with their places.

use super::{Characters, FormulaError};

/// A piece of a formula.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A number.
    Number(f64),
    /// A name, with dots between its parts.
    Name(String),
    /// An operator, bracket or comma.
    Sign(&'static str),
    /// The end of a line, where lines matter.
    Newline,
}

/// Signs, longer ones first.
const SIGNS: [&str; 16] = ["<=", ">=", "==", "!=", "=", "+", "-", "*", "/", "^", "<", ">", "(", ")", ",", "\n"];

/// Characters of a name, at most.
const MAX_NAME: usize = 100;

/// Splits a text; `#` begins a comment. Newlines inside of brackets are blanks.
pub fn tokens(text: &str) -> Result<Vec<(Token, Characters)>, FormulaError> {
    let mut list = Vec::new();
    let mut at = 0;
    let mut open = 0usize;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '\n' => {
                if open == 0 {
                    list.push((Token::Newline, at..at + 1));
                }
                1
            }
            c if c.is_whitespace() => c.len_utf8(),
            c if c.is_ascii_digit() || c == '.' => {
                let length = number_length(rest);
                let number = rest[..length].parse().map_err(|_| FormulaError {
                    message: format!("`{}` is not a number", &rest[..length]),
                    span: at..at + length,
                    help: None,
                })?;
                list.push((Token::Number(number), at..at + length));
                length
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length = name_length(rest);
                if length > MAX_NAME {
                    let message = format!("a name of {length} characters; at most {MAX_NAME} are allowed");
                    return Err(FormulaError { message, span: at..at + length, help: None });
                }
                list.push((Token::Name(rest[..length].into()), at..at + length));
                length
            }
            c => {
                let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) else {
                    let help = "a formula has numbers, names, + - * / ^, comparisons and functions".to_string();
                    let message = format!("unexpected character `{}`", c.escape_debug());
                    return Err(FormulaError { message, span: at..at + c.len_utf8(), help: Some(help) });
                };
                match sign {
                    "(" => open += 1,
                    ")" => open = open.saturating_sub(1),
                    _ => {}
                }
                list.push((Token::Sign(sign), at..at + sign.len()));
                sign.len()
            }
        };
        at += length;
    }
    Ok(list)
}

/// Digits, a point, digits, an exponent.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

/// Letters, digits and `_`, and dots that a further part follows.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let part =
        |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let mut end = part(0);
    while bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_') {
        end = part(end + 1);
    }
    end
}
