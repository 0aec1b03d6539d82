//! What is asked for beside an experiment file, laid over it. Nothing of it is dropped: what would take the place of another
//! request is refused.

use super::diagnostic::{Diagnostic, Diagnostics, Problem};
use super::key::Placed;
use super::source::{Sources, Span};
use super::tree::{Node, Table, Value};
use super::{merge, sweep};
use std::collections::HashMap;

/// What is asked for beside the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--set` options, in order.
    pub set: Vec<String>,
    /// `--sweep` options, in order.
    pub sweep: Vec<String>,
    /// The `--seeds` option.
    pub seeds: Option<String>,
}

/// Options of one request: each is laid over all that stands.
const MOST_OPTIONS: usize = 1000;

/// Lays all options over a document.
pub(super) fn lay(mut document: Table, overrides: &Overrides, sources: &mut Sources, found: &mut Diagnostics) -> Table {
    if overrides.set.len() + overrides.sweep.len() > MOST_OPTIONS {
        let text = format!("more than {MOST_OPTIONS} options `--set` and `--sweep`");
        let help = "write them into a file that `extends` this one".to_string();
        found.push(Diagnostic::without_place(Problem::Conflict(text)).help(help));
        return document;
    }
    let mut set = asked(&overrides.set, sources.next());
    for option in &overrides.set {
        document = merge::set(document, option, sources, found);
    }
    if let Some(text) = &overrides.seeds {
        let at = Span { source: sources.next(), start: 0, end: text.len() };
        set.push(Placed { value: "run.seeds", at, key: at });
        match seeds_option(text, sources) {
            Ok(node) => document = merge::set_run(document, "seeds", node, found),
            Err(diagnostic) => found.push(diagnostic),
        }
    }
    let swept = asked(&overrides.sweep, sources.next());
    for option in &overrides.sweep {
        document = sweep::option(document, option, sources, found);
    }
    refuse_twice(&set, "set", found);
    refuse_twice(&swept, "swept", found);
    sweep::refuse_set(&set, &document, found);
    document
}

/// The paths that options ask for, the texts of which are sources from `first` on.
fn asked(options: &[String], first: usize) -> Vec<Placed<&str>> {
    let mut paths = Vec::new();
    for (i, option) in options.iter().enumerate() {
        let whole = option.split('=').next().unwrap_or_default();
        let (value, before) = (whole.trim(), whole.len() - whole.trim_start().len());
        let at = Span { source: first + i, start: before, end: before + value.len() };
        paths.push(Placed { value, at, key: at });
    }
    paths
}

/// Refuses a path that is asked for after itself, or after one that it takes the place of: the first would do nothing.
fn refuse_twice(asked: &[Placed<&str>], done: &str, found: &mut Diagnostics) {
    let mut places: HashMap<String, Span> = HashMap::new();
    for Placed { value, at, .. } in asked {
        let replaced = std::iter::once(value.to_string()).chain(merge::replaced_by(value));
        let Some((first, also)) = replaced.into_iter().find_map(|path| Some((path.clone(), *places.get(&path)?)))
        else {
            places.insert(value.to_string(), *at);
            continue;
        };
        let problem = match first == *value {
            true => format!("`{value}` is {done} twice"),
            false => format!("`{first}` and `{value}` exclude each other"),
        };
        found.push(Diagnostic::new(Problem::Conflict(problem), *at).label("again").also(also, "first here"));
    }
}

/// `7`, `1,5,9` or the half-open `0..40`.
fn seeds_option(text: &str, sources: &mut Sources) -> Result<Node, Diagnostic> {
    let source = sources.add("--seeds", text);
    let whole = Span { source, start: 0, end: text.len() };
    let wrong = |at: Span| {
        let problem = Problem::WrongType {
            key: "--seeds".into(),
            expected: "`7`, `1,5,9` or `0..40`".into(),
            found: format!("`{}`", text.escape_debug()),
        };
        Diagnostic::new(problem, at)
    };
    let number = |part: &str| part.trim().parse::<i64>().ok().filter(|n| *n >= 0);
    if let Some((from, to)) = text.split_once("..") {
        let (Some(from), Some(to)) = (number(from), number(to)) else { return Err(wrong(whole)) };
        if to <= from {
            return Err(wrong(whole).label("no seed lies between these"));
        }
        let mut table = Table::default();
        table.put("from", Node::new(Value::Int(from), whole));
        table.put("count", Node::new(Value::Int(to - from), whole));
        return Ok(Node::new(Value::Table(table), whole));
    }
    let mut items = Vec::new();
    let mut start = 0;
    for part in text.split(',') {
        let at = whole.part(start..start + part.len());
        items.push(Node::new(Value::Int(number(part).ok_or_else(|| wrong(at))?), at));
        start += part.len() + 1;
    }
    Ok(Node::new(Value::Array(items), whole))
}
