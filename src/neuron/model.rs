//! A neuron as its text describes it: states, inputs, equations of one time step, parameters, options.

use crate::formula::{Equation, Expr, parse, parse_equations};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::merge::wrong_type;
use crate::spec::source::{Place, Sources, Span};
use crate::spec::tree::{Entry, Node, Table, Value};
use crate::spec::values::formula_error;

/// A neuron model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Inputs a neuron and step. The first is fed by the layer's weights.
    pub inputs: Vec<String>,
    /// States with their value before the first step.
    pub states: Vec<(String, f64)>,
    /// Signals that it hands on, with the equation that gives each. The first is the default.
    pub outputs: Vec<(String, String)>,
    /// The equations that states and outputs name, each with the place that names it.
    pub roots: Vec<(String, Span)>,
    /// Parameters.
    pub params: Vec<ParamDecl>,
    /// Options, the first value of each being the default.
    pub options: Vec<OptionDecl>,
    /// Projections of the layer's states of the step before back into it.
    pub projections: Vec<ProjectionDecl>,
    /// Whether initial weights are scaled by the number of neurons instead of inputs.
    pub fan_in_neurons: bool,
    /// Equations of one step.
    pub equations: Vec<Equation>,
    /// Where the equations stand, for messages.
    pub equations_at: Place,
    /// Where the model stands.
    pub at: Span,
}

/// A parameter of a neuron.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamDecl {
    /// Its name.
    pub name: String,
    /// Its value unless the experiment says otherwise.
    pub default: f64,
    /// Limits that act in the forward pass; beyond them the gradient is zero.
    pub clamp: Option<(f64, f64)>,
    /// Limits that the parameter is put back to after each update.
    pub project: Option<(f64, f64)>,
    /// What it is, with its unit.
    pub about: String,
}

/// An option of a neuron: each value defines names that the equations use.
#[derive(Debug, Clone)]
pub struct OptionDecl {
    /// Its name.
    pub name: String,
    /// Values with their definitions.
    pub values: Vec<(String, Vec<Definition>)>,
}

/// A projection that a neuron owns: `to = W prev.STATE + b`.
#[derive(Debug, Clone)]
pub struct ProjectionDecl {
    /// Its name, before its parameters' (`recurrent.weight`).
    pub name: String,
    /// The state that it reads, of the step before.
    pub from: String,
    /// The names that it gives values to, one a block of its outputs.
    pub to: Vec<String>,
    /// How it may connect, the first being the default: `dense` or `one_to_one`.
    pub kinds: Vec<String>,
    /// Whether a dense one has a bias.
    pub bias: bool,
    /// Where it stands.
    pub at: Span,
}

/// A name that an option's value defines.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub expr: Expr,
    /// Where the formula stands.
    pub at: Place,
}

/// Keys of a neuron's text.
const KEYS: [&str; 14] = [
    "projections",
    "fan_in",
    "kind",
    "name",
    "about",
    "source",
    "inputs",
    "states",
    "outputs",
    "step",
    "params",
    "options",
    "overrides",
    "format",
];

impl Model {
    /// Whether its equations, under any option, call functions that the binary brings.
    pub fn calls_own(&self) -> bool {
        let values = self.options.iter().flat_map(|option| &option.values);
        let defined = values.flat_map(|(_, definitions)| definitions).map(|definition| &definition.expr);
        self.equations.iter().map(|equation| &equation.expr).chain(defined).any(super::surrogate::calls_own)
    }

    /// Reads a text plugin whose `kind` is `neuron`.
    pub fn read(table: &Table, at: Span, sources: &Sources, found: &mut Diagnostics) -> Option<Model> {
        let before = found.list.len();
        for entry in table.entries.iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
            let help = crate::spec::diagnostic::suggest(&entry.key, KEYS, "");
            found.push(Diagnostic::new(Problem::UnknownKey(entry.key.clone()), entry.key_span).help(help));
        }
        let (equations, equations_at) = read_equations(table, at, sources, found)?;
        let states =
            pairs(table, "states", found, |node| node.as_number(), "a number, the state before the first step");
        let outputs =
            pairs(table, "outputs", found, |node| node.as_text().map(String::from), "the name of an equation");
        let inputs: Vec<String> = match table.get("inputs") {
            None => vec!["current".into()],
            Some(_) => table.nodes("inputs").iter().filter_map(|node| node.as_text().map(String::from)).collect(),
        };
        for (key, empty) in
            [("states", states.is_empty()), ("outputs", outputs.is_empty()), ("inputs", inputs.is_empty())]
        {
            if empty {
                found.push(Diagnostic::new(Problem::MissingKey(key.into()), at).label("a neuron needs this"));
            }
        }
        let model = Model {
            name: table.text("name").unwrap_or("").into(),
            inputs,
            states,
            outputs,
            roots: roots(table),
            params: read_params(table, found),
            options: read_options(table, sources, found),
            projections: read_projections(table, found),
            fan_in_neurons: table.text("fan_in") == Some("neurons"),
            equations,
            equations_at,
            at,
        };
        super::limits::check(&model, table, found);
        (found.list.len() == before).then_some(model)
    }

    /// Whether a spike needs a surrogate.
    pub fn spikes(&self) -> bool {
        let defined = self.options.iter().flat_map(|o| &o.values).flat_map(|(_, d)| d).map(|d| &d.expr);
        let mut all = self.equations.iter().map(|equation| &equation.expr).chain(defined);
        all.any(|expr| expr.calls(crate::formula::Function::Spike))
    }
}

fn read_equations(
    table: &Table,
    at: Span,
    sources: &Sources,
    found: &mut Diagnostics,
) -> Option<(Vec<Equation>, Place)> {
    let Some(node) = table.get("step") else {
        found.push(Diagnostic::new(Problem::MissingKey("step".into()), at).label("the equations of one time step"));
        return None;
    };
    let Some(text) = node.as_text() else {
        found.push(wrong_type("step", "equations, a line each, in quotes", node));
        return None;
    };
    let at = sources.place(node.span, text);
    match parse_equations(text) {
        Ok(equations) => Some((equations, at)),
        Err(errors) => {
            errors.into_iter().for_each(|error| found.push(formula_error(error, at)));
            None
        }
    }
}

/// What `states` and `outputs` name, and where.
fn roots(table: &Table) -> Vec<(String, Span)> {
    let entries = |key: &str| table.get(key).and_then(Node::as_table).map_or(&[][..], |inner| &inner.entries);
    let states = entries("states").iter().map(|state| (state.key.clone(), state.key_span));
    let outputs =
        entries("outputs").iter().filter_map(|output| Some((output.node.as_text()?.into(), output.node.span)));
    states.chain(outputs).collect()
}

/// The entries of a table whose values are all of one kind.
fn pairs<T>(
    table: &Table,
    key: &str,
    found: &mut Diagnostics,
    read: impl Fn(&Node) -> Option<T>,
    expected: &str,
) -> Vec<(String, T)> {
    let Some(inner) = table.get(key).and_then(Node::as_table) else { return Vec::new() };
    let mut pairs = Vec::new();
    for Entry { key, node, .. } in &inner.entries {
        match read(node) {
            Some(value) => pairs.push((key.clone(), value)),
            None => found.push(wrong_type(key, expected, node)),
        }
    }
    pairs
}

fn read_params(table: &Table, found: &mut Diagnostics) -> Vec<ParamDecl> {
    let mut limits = |inner: &Table, key: &str| {
        let node = inner.get(key)?;
        let numbers: Vec<f64> = inner.nodes(key).iter().filter_map(Node::as_number).collect();
        match numbers.as_slice() {
            [low, high] if low <= high => Some((*low, *high)),
            _ => {
                found.push(wrong_type(key, "[low, high]", node));
                None
            }
        }
    };
    let Some(params) = table.get("params").and_then(Node::as_table) else { return Vec::new() };
    let mut list = Vec::new();
    for Entry { key, node, .. } in &params.entries {
        let Some(inner) = node.as_table() else { continue };
        list.push(ParamDecl {
            name: key.clone(),
            default: inner.get("default").and_then(Node::as_number).unwrap_or(0.0),
            clamp: limits(inner, "clamp"),
            project: limits(inner, "project"),
            about: inner.text("about").unwrap_or("").into(),
        });
    }
    for Entry { key, node, .. } in &params.entries {
        let default = node.as_table().and_then(|inner| inner.get("default"));
        if default.and_then(Node::as_number).is_none() {
            found.push(wrong_type(key, "a table with a number as `default`", default.unwrap_or(node)));
        }
    }
    list
}

fn read_projections(table: &Table, found: &mut Diagnostics) -> Vec<ProjectionDecl> {
    let Some(inner) = table.get("projections").and_then(Node::as_table) else { return Vec::new() };
    let mut list = Vec::new();
    for Entry { key, key_span, node, .. } in &inner.entries {
        let texts = |key: &str| -> Vec<String> {
            let table = node.as_table();
            match table.and_then(|table| table.text(key)) {
                Some(text) => vec![text.to_string()],
                None => table
                    .map(|t| t.nodes(key).iter().filter_map(|n| n.as_text().map(String::from)).collect())
                    .unwrap_or_default(),
            }
        };
        let (from, to, kinds) = (texts("from"), texts("to"), texts("kind"));
        let known = kinds.iter().all(|kind| ["dense", "one_to_one"].contains(&kind.as_str()));
        let single = to.len() == 1 || !kinds.iter().any(|kind| kind == "one_to_one");
        match from.first().and_then(|from| from.strip_prefix("prev.")) {
            Some(from) if !to.is_empty() && !kinds.is_empty() && known && single => list.push(ProjectionDecl {
                name: key.clone(),
                from: from.into(),
                to,
                kinds,
                bias: node.as_table().and_then(|t| t.get("bias")).is_some_and(|n| n.value == Value::Bool(true)),
                at: *key_span,
            }),
            _ => found.push(wrong_type(
                key,
                "{ from = \"prev.STATE\", to = [\"NAME\", ..], kind = [\"dense\" or \"one_to_one\"], bias = true or false }",
                node,
            )),
        }
    }
    list
}

fn read_options(table: &Table, sources: &Sources, found: &mut Diagnostics) -> Vec<OptionDecl> {
    let Some(options) = table.get("options").and_then(Node::as_table) else { return Vec::new() };
    let mut list = Vec::new();
    for option in &options.entries {
        let Some(values) = option.node.as_table().filter(|values| !values.entries.is_empty()) else {
            found.push(wrong_type(&option.key, "a table with an entry for each value", &option.node));
            continue;
        };
        let read = |value: &Entry, found: &mut Diagnostics| match &value.node.value {
            Value::Table(inner) => (value.key.clone(), read_definitions(inner, sources, found)),
            _ => {
                found.push(wrong_type(&value.key, "a table of names and their formulas", &value.node));
                (value.key.clone(), Vec::new())
            }
        };
        let values = values.entries.iter().map(|value| read(value, found)).collect();
        list.push(OptionDecl { name: option.key.clone(), values });
    }
    list
}

fn read_definitions(inner: &Table, sources: &Sources, found: &mut Diagnostics) -> Vec<Definition> {
    let mut definitions = Vec::new();
    for Entry { key, node, .. } in &inner.entries {
        let Some(text) = node.as_text() else {
            found.push(wrong_type(key, "a formula in quotes", node));
            continue;
        };
        let at = sources.place(node.span, text);
        match parse(text) {
            Ok(expr) => definitions.push(Definition { name: key.clone(), expr, at }),
            Err(error) => found.push(formula_error(error, at)),
        }
    }
    definitions
}
