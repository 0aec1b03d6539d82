//! Surrogates: a formula in `x` (membrane potential minus threshold) in place of the derivative of a spike.

use crate::formula::{self, Expr};
use crate::spec::component::Info;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use crate::spec::fields::{Field, Range};
use crate::spec::source::Sources;
use crate::spec::tree::{Node, Table, Value};
use crate::spec::values::{formula_error, inside};

/// A surrogate as its text describes it.
#[derive(Debug, Clone)]
pub struct Surrogate {
    /// What the registry shows.
    pub info: Info,
    /// The derivative, over `x` and the parameters.
    pub derivative: Expr,
}

impl Surrogate {
    /// Reads a text plugin whose `kind` is `surrogate`.
    pub fn read(table: &Table, sources: &Sources, found: &mut Diagnostics) -> Option<Surrogate> {
        let params = read_params(table, found);
        let node = table.get("derivative");
        let Some((node, text)) = node.and_then(|node| Some((node, node.as_text()?))) else {
            let at = table.entries.first().map(|entry| entry.key_span)?;
            let problem = Problem::MissingKey("derivative".into());
            found.push(Diagnostic::new(problem, at).help("a formula over `x` in quotes".to_string()));
            return None;
        };
        let at = inside(node.span, text, sources);
        let derivative = match formula::parse(text) {
            Ok(expr) => expr,
            Err(error) => {
                found.push(formula_error(error, at));
                return None;
            }
        };
        let known = || params.iter().map(|p| p.name.as_str()).chain(["x"]);
        for name in derivative.names() {
            if !known().any(|k| k == name.text) && formula::constant(&name.text).is_none() {
                let help = suggest(&name.text, known().collect::<Vec<_>>(), "");
                let problem = Problem::UnknownName { what: "name".into(), name: name.text.clone() };
                found.push(Diagnostic::new(problem, at.part(name.span.clone())).help(help));
            }
        }
        let detail = format!("derivative = {derivative}\n\nx is the membrane potential minus the threshold\n");
        Some(Surrogate { info: info(table, params, detail), derivative })
    }

    /// The derivative over `x` alone, for given parameters.
    pub fn bound(&self, args: &Table) -> Expr {
        self.derivative.substitute(&|name| args.get(name).and_then(Node::as_number).map(Expr::number))
    }
}

/// The part of a plugin's text that every kind has.
pub fn info(table: &Table, fields: Vec<Field>, detail: String) -> Info {
    Info {
        name: table.text("name").unwrap_or("").into(),
        about: table.text("about").unwrap_or("").into(),
        source: table.text("source").map(String::from),
        fields,
        detail,
        meaning: 1,
        plugin: None,
    }
}

/// `[params]` whose values are plain numbers: `NAME = { default = 25.0, about = "..." }`.
fn read_params(table: &Table, found: &mut Diagnostics) -> Vec<Field> {
    let Some(params) = table.get("params").and_then(Node::as_table) else { return Vec::new() };
    let mut fields = Vec::new();
    for entry in &params.entries {
        let default = match &entry.node.value {
            Value::Table(inner) => inner.get("default").and_then(Node::as_number),
            _ => entry.node.as_number(),
        };
        let Some(default) = default else {
            let problem = Problem::MissingKey("default".into());
            found.push(Diagnostic::new(problem, entry.key_span).label("a parameter needs a default"));
            continue;
        };
        let about = entry.node.as_table().and_then(|inner| inner.text("about")).unwrap_or("");
        fields.push(Field::number(&entry.key, Range::ANY, default, about));
    }
    fields
}
