//! `[let]` and formulas: every string that begins with `=` becomes a number, or the text that a name stands for.

use super::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use super::source::{Place, Sources};
use super::tree::{Entry, Node, Stands, Table, Value};
use crate::formula::{self, Expr, FormulaError};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Computes every formula of a document in place; each keeps its text beside the result.
pub fn compute(document: &mut Table, sources: &Sources, found: &mut Diagnostics) {
    let variables = Variables::read(document, sources, found);
    for entry in &mut document.entries {
        match (entry.key.as_str(), &mut entry.node.value) {
            ("let", Value::Table(table)) => variables.write(table),
            _ => compute_node(&mut entry.node, &variables, sources, found),
        }
    }
}

/// The names that the formulas of a document read.
pub fn names_read(document: &Table, sources: &Sources) -> BTreeSet<String> {
    let mut read = BTreeSet::new();
    document.entries.iter().for_each(|entry| read_by(&entry.node, sources, &mut read));
    read
}

/// Refuses names of `[let]` that no formula reads, before or after options were laid over the file: of the file itself, of
/// options, and of variants. They change nothing, so they are a slip. One of a file that `file` extends may have lost its
/// reader to a patch.
pub fn refuse_unread(document: &Table, read: &BTreeSet<String>, file: usize, found: &mut Diagnostics) {
    fn of_let(table: &Table) -> &[Entry] {
        table.get("let").and_then(Node::as_table).map_or(&[][..], |names| &names.entries)
    }
    let variants = document.get("sweep").and_then(Node::as_table).and_then(|sweep| sweep.get("variants"));
    let variants = variants.and_then(Node::as_table).map_or(&[][..], |variants| &variants.entries);
    let given = variants.iter().filter_map(|variant| variant.node.as_table()).flat_map(of_let);
    let own = of_let(document).iter().filter(|e| e.stands == Stands::Asked || e.key_span.source == file);
    for Entry { key, key_span, .. } in own.chain(given) {
        if !read.contains(key) {
            let problem = Problem::Conflict(format!("nothing reads `let.{key}`"));
            let read_by = "a name of `[let]` is read by a formula such as \"=name\"";
            let near = found.suggest(key, read.iter().map(String::as_str), read_by);
            let help = near.unwrap_or(read_by.into());
            found.push(Diagnostic::new(problem, *key_span).label("it would change nothing").help(help));
        }
    }
}

/// The names that formulas read in a value and in all that it holds.
fn read_by(node: &Node, sources: &Sources, read: &mut BTreeSet<String>) {
    match &node.value {
        Value::Text(text) if text.starts_with('=') => {
            if let Ok((expr, _)) = parse(node, sources) {
                read.extend(expr.names().into_iter().map(|name| name.text.clone()));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| read_by(item, sources, read)),
        Value::Table(table) => table.entries.iter().for_each(|entry| read_by(&entry.node, sources, read)),
        Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

/// What a name of `[let]` stands for.
#[derive(Debug, Clone)]
enum Variable {
    Known(Value),
    /// Reported already; what uses it is silent.
    Broken,
}

/// Names that need each other in a row: more of them are a mistake, and would need as many calls inside of each other.
const DEEPEST: usize = 256;

struct Variables {
    values: BTreeMap<String, Variable>,
    /// Whether a chain was too long, which is said once.
    too_deep: bool,
}

impl Variables {
    fn read(document: &Table, sources: &Sources, found: &mut Diagnostics) -> Self {
        let mut variables = Variables { values: BTreeMap::new(), too_deep: false };
        let Some(table) = document.get("let").and_then(Node::as_table) else { return variables };
        let nodes: HashMap<&str, &Node> = table.entries.iter().map(|entry| (entry.key.as_str(), &entry.node)).collect();
        for entry in &table.entries {
            variables.settle(&entry.key, &nodes, &mut Vec::new(), sources, found);
        }
        variables
    }

    /// Puts the results beside the formulas of `[let]`.
    fn write(&self, table: &mut Table) {
        for Entry { key, node, .. } in &mut table.entries {
            let Value::Text(text) = &node.value else { continue };
            if text.starts_with('=') {
                node.formula = Some(text.clone());
            }
            if let Some(Variable::Known(value)) = self.values.get(key) {
                node.value = value.clone();
            }
        }
    }

    /// Computes a name and, before it, all that it needs.
    fn settle(
        &mut self,
        name: &str,
        nodes: &HashMap<&str, &Node>,
        open: &mut Vec<String>,
        sources: &Sources,
        found: &mut Diagnostics,
    ) {
        let Some(&node) = nodes.get(name) else { return };
        if self.values.contains_key(name) {
            return;
        }
        if open.len() >= DEEPEST {
            if !std::mem::replace(&mut self.too_deep, true) {
                let text = format!("more than {DEEPEST} names need each other in a row");
                found.push(Diagnostic::new(Problem::Conflict(text), node.span).label("this is not computed"));
            }
            self.values.insert(name.into(), Variable::Broken);
            return;
        }
        if let Some(start) = open.iter().position(|other| other == name) {
            let circle = format!("{} -> {name}", open[start..].join(" -> "));
            found.push(Diagnostic::new(Problem::LetCycle(circle), node.span).label("this needs itself"));
            self.values.insert(name.into(), Variable::Broken);
            return;
        }
        let variable = match &node.value {
            Value::Text(text) if text.starts_with('=') => {
                open.push(name.into());
                let parsed = parse(node, sources);
                if let Ok((expr, _)) = &parsed {
                    for needed in expr.names() {
                        self.settle(&needed.text, nodes, open, sources, found);
                    }
                }
                open.pop();
                if self.values.contains_key(name) {
                    return;
                }
                self.evaluate(parsed, found).map_or(Variable::Broken, Variable::Known)
            }
            Value::Int(_) | Value::Float(_) | Value::Text(_) => Variable::Known(node.value.clone()),
            Value::Bool(_) | Value::Array(_) | Value::Table(_) => {
                found.push(super::merge::wrong_type(name, "a number, a string or a formula", node));
                Variable::Broken
            }
        };
        self.values.insert(name.into(), variable);
    }

    /// The value of a formula; none where it was reported, here or before.
    fn evaluate(&self, parsed: Result<(Expr, Place), Diagnostic>, found: &mut Diagnostics) -> Option<Value> {
        let helped = !found.is_long();
        match parsed.and_then(|(expr, at)| self.value_of(&expr, at, helped)) {
            Ok(value) => value,
            Err(diagnostic) => {
                found.push(diagnostic);
                None
            }
        }
    }

    /// As [`Variables::evaluate`]; `helped` where near names are looked for.
    fn value_of(&self, expr: &Expr, at: Place, helped: bool) -> Result<Option<Value>, Diagnostic> {
        if let Expr::Name(name) = expr
            && let Some(Variable::Known(text @ Value::Text(_))) = self.values.get(&name.text)
        {
            return Ok(Some(text.clone()));
        }
        for name in expr.names() {
            match self.values.get(&name.text) {
                Some(Variable::Broken) => return Ok(None),
                Some(Variable::Known(Value::Text(_))) => {
                    let span = at.part(name.span.clone());
                    let problem =
                        Problem::Formula(error(format!("`{}` is text and cannot be computed with", name.text)));
                    return Err(Diagnostic::new(problem, span));
                }
                Some(Variable::Known(_)) => {}
                None if formula::constant(&name.text).is_some() => {}
                None => {
                    let problem = Problem::Formula(error(format!("unknown name `{}`", name.text)));
                    let given = "names are given values in `[let]`";
                    let names = self.values.keys().map(String::as_str);
                    let near = if helped { suggest(&name.text, names, given) } else { None };
                    let help = near.unwrap_or(given.into());
                    return Err(Diagnostic::new(problem, at.part(name.span.clone()))
                        .label("no value of this name")
                        .help(help));
                }
            }
        }
        let lookup = |name: &str| match self.values.get(name) {
            Some(Variable::Known(Value::Int(i))) => Some(*i as f64),
            Some(Variable::Known(Value::Float(f))) => Some(*f),
            _ => None,
        };
        let number = expr.eval(&lookup).map_err(|e| formula_error(e, at))?;
        if !number.is_finite() {
            let problem = Problem::Formula(error(format!("this formula gives {number}, not a finite number")));
            return Err(Diagnostic::new(problem, at.span));
        }
        Ok(Some(Value::Float(number)))
    }
}

fn error(message: String) -> FormulaError {
    FormulaError { message, span: 0..0, help: None }
}

/// A mistake in a formula, at its place in the file; `at` is where the formula stands.
pub fn formula_error(error: FormulaError, at: Place) -> Diagnostic {
    let span = at.part(error.span.clone());
    let help = error.help.clone();
    Diagnostic::new(Problem::Formula(error), span).help(help)
}

/// Parses a string that begins with `=`; also gives the place of the formula without the `=`.
fn parse(node: &Node, sources: &Sources) -> Result<(Expr, Place), Diagnostic> {
    let text = node.as_text().unwrap_or("");
    let at = sources.place(node.span, text).after(1);
    match formula::parse(&text[1..]) {
        Ok(expr) => Ok((expr, at)),
        Err(error) => Err(formula_error(error, at)),
    }
}

fn compute_table(table: &mut Table, variables: &Variables, sources: &Sources, found: &mut Diagnostics) {
    for entry in &mut table.entries {
        compute_node(&mut entry.node, variables, sources, found);
    }
}

fn compute_node(node: &mut Node, variables: &Variables, sources: &Sources, found: &mut Diagnostics) {
    match &mut node.value {
        Value::Text(text) if text.starts_with('=') => {
            let text = text.clone();
            if let Some(value) = variables.evaluate(parse(node, sources), found) {
                node.value = value;
            }
            node.formula = Some(text);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| compute_node(item, variables, sources, found)),
        Value::Table(inner) => compute_table(inner, variables, sources, found),
        Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}
