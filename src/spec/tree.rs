//! A TOML document as a tree whose every key and value remembers where it stood.

use super::diagnostic::{Diagnostic, Diagnostics, Problem};
use super::source::{Sources, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stood.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value; of a formula, its result once it was computed.
    pub value: Value,
    /// Where it stood. A value that nobody wrote (a default) points to the table that lacks it.
    pub span: Span,
    /// The formula it was computed from, with its `=`.
    pub formula: Option<String>,
}

/// A TOML value; dates have no use here and are refused on reading.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Node {
    /// A value that was not computed from a formula.
    pub fn new(value: Value, span: Span) -> Self {
        Node { value, span, formula: None }
    }

    /// The same place and formula with another value.
    pub fn holding(&self, value: Value) -> Self {
        Node { value, span: self.span, formula: self.formula.clone() }
    }

    /// Whether this is a formula that could not be computed, which was reported.
    pub fn is_broken(&self) -> bool {
        self.formula.is_some() && self.formula.as_deref() == self.as_text()
    }

    /// The table, if it is one.
    pub fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self.value {
            Value::Int(i) => Some(i as f64),
            Value::Float(f) => Some(f),
            _ => None,
        }
    }

    /// The whole number, if it is one; a formula's result counts when nothing is lost.
    pub fn as_int(&self) -> Option<i64> {
        match self.value {
            Value::Int(i) => Some(i),
            Value::Float(f) if self.formula.is_some() && f.fract() == 0.0 && f.abs() < 9e15 => Some(f as i64),
            _ => None,
        }
    }
}

impl Value {
    /// What the value is, for a message.
    pub fn describe(&self) -> String {
        match self {
            Value::Bool(b) => format!("`{b}`"),
            Value::Int(i) => format!("the number {i}"),
            Value::Float(f) => format!("the number {f:?}"),
            Value::Text(text) if text.chars().count() <= 40 => format!("the string \"{}\"", text.escape_debug()),
            Value::Text(_) => "a string".into(),
            Value::Array(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }
}

/// How a key came to stand in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It was written in a file.
    Written,
    /// It is asked for by this request: set, swept, or part of a variant. So it never falls away.
    Asked,
    /// It was written for a component whose `kind` was changed afterwards, and falls away where the new one lacks it.
    Inherited,
    /// Nobody wrote it.
    Default,
}

/// A key with its place, and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stood.
    pub key_span: Span,
    /// Its value.
    pub node: Node,
    /// How it came here.
    pub stands: Stands,
}

/// Keys and values in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The entries; no key occurs twice.
    pub entries: Vec<Entry>,
}

impl Table {
    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }

    /// The value of the key of a table that is a string.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::as_text)
    }

    /// The items of a list; none where the key is not there.
    pub fn nodes(&self, key: &str) -> &[Node] {
        match self.get(key).map(|node| &node.value) {
            Some(Value::Array(items)) => items,
            _ => &[],
        }
    }

    /// Sets a key, in its place if it is there, else at the end.
    pub fn set(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|old| old.key == entry.key) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }

    /// Adds a value under a key whose place is that of the value.
    pub fn put(&mut self, key: &str, node: Node) {
        let key_span = node.span;
        self.set(Entry { key: key.into(), key_span, node, stands: Stands::Written });
    }

    /// Says of all keys, also of tables inside, that they are asked for.
    pub fn ask(&mut self) {
        for entry in &mut self.entries {
            entry.stands = Stands::Asked;
            if let Value::Table(inner) = &mut entry.node.value {
                inner.ask();
            }
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }
}

/// Parses the text of a source. What could be read comes back even where `found` has syntax errors.
pub fn parse(sources: &Sources, source: usize, found: &mut Diagnostics) -> Table {
    let whole = Span { source, start: 0, end: 0 };
    let text = &sources.get(whole).text;
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        let span = Span { source, start: range.start, end: range.end };
        let message = error.message().trim_end_matches(", expected nothing");
        let layer = message == "duplicate key" && text.get(range) == Some("layer");
        let help = layer.then(|| "a network has a `[[layer]]` for each of its layers, in double brackets".to_string());
        found.push(Diagnostic::new(Problem::Syntax(message.into()), span).help(help));
    }
    table(document.get_ref(), source, found)
}

/// Parses one TOML value, as `--set` takes it; none if it is not TOML.
pub fn parse_value(sources: &Sources, at: Span) -> Option<Node> {
    const KEY: &str = "v = ";
    let text = format!("{KEY}{}", sources.slice(at));
    let document = DeTable::parse(&text).ok()?;
    let mut found = Diagnostics::default();
    let mut parsed = table(document.get_ref(), at.source, &mut found);
    if !found.is_empty() || parsed.entries.len() != 1 {
        return None;
    }
    let mut node = parsed.remove("v")?.node;
    shift(&mut node, at, KEY.len());
    Some(node)
}

fn shift(node: &mut Node, at: Span, skip: usize) {
    let moved = |span: Span| Span { start: span.start + at.start - skip, end: span.end + at.start - skip, ..at };
    node.span = moved(node.span);
    match &mut node.value {
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, at, skip)),
        Value::Table(table) => table.entries.iter_mut().for_each(|entry| {
            entry.key_span = moved(entry.key_span);
            shift(&mut entry.node, at, skip);
        }),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

fn table(parsed: &DeTable<'_>, source: usize, found: &mut Diagnostics) -> Table {
    let entries = parsed.iter().filter_map(|(key, value)| {
        let range = key.span();
        let key_span = Span { source, start: range.start, end: range.end };
        Some(Entry {
            key: key.get_ref().to_string(),
            key_span,
            node: node(value, source, found)?,
            stands: Stands::Written,
        })
    });
    Table { entries: entries.collect() }
}

fn node(parsed: &Spanned<DeValue<'_>>, source: usize, found: &mut Diagnostics) -> Option<Node> {
    let range = parsed.span();
    let span = Span { source, start: range.start, end: range.end };
    let value = match parsed.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
            Ok(i) => Value::Int(i),
            Err(_) => {
                found.push(
                    Diagnostic::new(Problem::OutOfRange { key: i.to_string() }, span)
                        .label("whole numbers have at most 63 bits"),
                );
                return None;
            }
        },
        DeValue::Float(f) => match f.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Float(number),
            Ok(_) | Err(_) => {
                found.push(
                    Diagnostic::new(Problem::OutOfRange { key: f.as_str().into() }, span)
                        .label("a finite number is needed"),
                );
                return None;
            }
        },
        DeValue::Datetime(_) => {
            found.push(
                Diagnostic::new(Problem::Conflict("dates have no meaning here".into()), span)
                    .help(Some("put it in quotes if it is meant as text".to_string())),
            );
            return None;
        }
        DeValue::Array(items) => Value::Array(items.iter().filter_map(|item| node(item, source, found)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, source, found)),
    };
    Some(Node::new(value, span))
}
