//! How large a neuron may be, and how its parts may be named: so that no text asks for more time or memory than a
//! network of its neurons is worth, and no two of its parts meet under one name.

use super::model::Model;
use crate::formula::{Function, is_identifier};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::source::Span;
use crate::spec::tree::{Entry, Node, Table};

/// States, outputs, parameters, options, and values of all options, at most of each.
const MAX_NAMES: usize = 64;
/// Inputs and projections, at most of each.
const MAX_INPUTS: usize = 16;
/// Equations and definitions of options together.
const MAX_EQUATIONS: usize = 256;
/// Numbers, names, operations and functions of all formulas together.
pub const MAX_SIZE: usize = 1024;
/// Calls of `spike`, in whose place the derivative of a surrogate stands on the way back.
const MAX_SPIKES: usize = 16;
/// Combinations of options, each of which is checked.
const MAX_COMBINATIONS: usize = 128;

/// Keys of every layer of neurons, which parameters, options and projections stand beside.
const LAYER_KEYS: [&str; 13] =
    ["kind", "name", "from", "size", "bias", "init", "weight", "surrogate", "output", "learn", "lr", "after", "remove"];

/// Checks sizes and names of a model that was read from a table.
pub fn check(model: &Model, table: &Table, found: &mut Diagnostics) {
    sizes(model, table, found);
    names(model, table, found);
}

fn sizes(model: &Model, table: &Table, found: &mut Diagnostics) {
    let definitions = || model.options.iter().flat_map(|option| &option.values).flat_map(|(_, list)| list);
    let formulas = || model.equations.iter().map(|e| &e.expr).chain(definitions().map(|d| &d.expr));
    let values: usize = model.options.iter().map(|option| option.values.len()).sum();
    let combinations = model.options.iter().fold(1usize, |n, option| n.saturating_mul(option.values.len()));
    let spikes = formulas().map(|expr| expr.count(&|expr| expr.is_call(Function::Spike))).sum();
    let projected = model.projections.iter().map(|projection| projection.to.len()).sum();
    for (what, key, size, most) in [
        ("states", "states", model.states.len(), MAX_NAMES),
        ("outputs", "outputs", model.outputs.len(), MAX_NAMES),
        ("parameters", "params", model.params.len(), MAX_NAMES),
        ("inputs", "inputs", model.inputs.len(), MAX_INPUTS),
        ("projected names", "projections", projected, MAX_INPUTS),
        ("values of options", "options", values, MAX_NAMES),
        ("combinations of options", "options", combinations, MAX_COMBINATIONS),
        ("equations", "step", model.equations.len() + definitions().count(), MAX_EQUATIONS),
        ("operations and names in its formulas", "step", formulas().map(|e| e.size()).sum(), MAX_SIZE),
        ("calls of `spike`", "step", spikes, MAX_SPIKES),
    ] {
        if size > most {
            let text = format!("a neuron of {size} {what}; at most {most} are allowed");
            found.push(Diagnostic::new(Problem::Conflict(text), place(table, key, model.at)));
        }
    }
}

/// Where the value of a key begins.
fn place(table: &Table, key: &str, at: Span) -> Span {
    table.entry(key).map_or(at, |entry| entry.key_span)
}

fn names(model: &Model, table: &Table, found: &mut Diagnostics) {
    let entries = |key: &str| -> &[Entry] {
        table.get(key).and_then(Node::as_table).map(|inner| inner.entries.as_slice()).unwrap_or_default()
    };
    let mut keys: Vec<(&str, Span)> = Vec::new();
    for key in ["params", "options", "projections"] {
        for Entry { key, key_span, .. } in entries(key) {
            let taken = LAYER_KEYS.contains(&key.as_str());
            identifier(key, *key_span, taken.then_some("every layer of neurons has a key of this name"), found);
            match keys.iter().find(|(other, _)| other == key) {
                Some((_, first)) => {
                    let problem = Problem::Duplicate { what: "key".into(), name: key.clone() };
                    found.push(Diagnostic::new(problem, *key_span).also(*first, "first here"));
                }
                None => keys.push((key, *key_span)),
            }
        }
    }
    // A projection has keys of its own beside the one of its name.
    for Entry { key, key_span, .. } in entries("projections") {
        for own in ["init", "weight", "bias"].map(|own| format!("{key}_{own}")) {
            if let Some((_, at)) = keys.iter().find(|(other, _)| *other == own) {
                let text = format!("`{own}` belongs to the projection `{key}`");
                let label = "another name is needed here";
                found.push(Diagnostic::new(Problem::Conflict(text), *at).label(label).also(*key_span, "of this one"));
            }
        }
    }
    let defined = entries("options").iter().filter_map(|option| option.node.as_table());
    let defined = defined.flat_map(|values| &values.entries).filter_map(|value| value.node.as_table());
    let states = entries("states").iter().chain(entries("outputs"));
    for Entry { key, key_span, .. } in states.chain(defined.flat_map(|inner| &inner.entries)) {
        identifier(key, *key_span, None, found);
    }
    let mut seen: Vec<&str> = Vec::new();
    for (i, name) in model.inputs.iter().enumerate() {
        let at = table.nodes("inputs").get(i).map_or(model.at, |node| node.span);
        let taken = seen.contains(&name.as_str()).then_some("a name of another input");
        identifier(name, at, taken, found);
        seen.push(name);
    }
}

/// Reports a name that formulas or experiments could not say, or that is taken.
pub fn identifier(name: &str, at: Span, taken: Option<&str>, found: &mut Diagnostics) {
    if taken.is_some() || !is_identifier(name) || name.len() > 100 {
        let start: String = name.chars().take(40).collect();
        let text = format!("`{}` cannot be a name here", start.escape_debug());
        let label = taken.unwrap_or("at most 100 letters, digits and `_`, and no function or constant");
        found.push(Diagnostic::new(Problem::Conflict(text), at).label(label));
    }
}
