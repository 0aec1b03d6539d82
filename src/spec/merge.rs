//! How one file lies over another: `extends`, `[layer.NAME]` patches and `--set`.
//!
//! Tables merge; everything else is replaced. `[[layer]]` replaces the list of layers.

use super::diagnostic::{Diagnostic, Diagnostics, Problem};
use super::source::{Sources, Span, path_of, read, text_of};
use super::tree::{Entry, Node, Stands, Table, Value, parse, parse_value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Keys of one table of which only one can stand: setting one removes the others.
const EXCLUSIVE: [&[&str]; 2] = [&["iterations", "epochs"], &["value", "uniform", "normal", "constant"]];

/// The same of `[run] seeds`.
const EXCLUSIVE_SEEDS: [&[&str]; 2] = [&["count", "until"], &["count", "max"]];

/// The keys of which only one can stand in the table of this key.
fn exclusive_in(table: &str) -> &'static [&'static [&'static str]] {
    if table == "seeds" { &EXCLUSIVE_SEEDS } else { &EXCLUSIVE }
}

/// The paths that setting one removes.
pub fn replaced_by(path: &str) -> Vec<String> {
    let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
    let groups = exclusive_in(table.rsplit('.').next().unwrap_or_default());
    let others = groups.iter().filter(|group| group.contains(&key)).flat_map(|group| group.iter());
    others.filter(|other| **other != key).map(|other| format!("{table}.{other}")).collect()
}

/// Files that extend each other, and parts of a path: more of them are a mistake, and would need as many calls inside of
/// each other.
const DEEPEST: usize = 64;

/// Layers that one file patches: each is looked for among all.
const MOST_PATCHES: usize = 1000;

/// Reads a file and all that it extends, and lays them over each other.
pub fn load(path: &Path, sources: &mut Sources, found: &mut Diagnostics) -> Option<Table> {
    load_over(path, None, &mut Vec::new(), sources, found)
}

fn load_over(
    path: &Path,
    named_at: Option<Span>,
    chain: &mut Vec<(PathBuf, String)>,
    sources: &mut Sources,
    found: &mut Diagnostics,
) -> Option<Table> {
    let unreadable = |error| {
        let problem = Problem::Unreadable { path: path.to_path_buf(), error };
        Diagnostic { span: named_at, ..Diagnostic::without_place(problem) }
    };
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            found.push(unreadable(error));
            return None;
        }
    };
    let identity = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let shown = text_of(path);
    chain.push((identity, shown.clone()));
    let before = found.list.len();
    let source = sources.add(shown, text);
    let mut table = parse(sources, source, found);
    if found.list.len() > before {
        return None;
    }
    let base = match table.remove("extends") {
        None => Table::default(),
        Some(entry) => load_base(path, &entry, chain, sources, found)?,
    };
    Some(lay_over(base, table, found))
}

fn load_base(
    path: &Path,
    extends: &Entry,
    chain: &mut Vec<(PathBuf, String)>,
    sources: &mut Sources,
    found: &mut Diagnostics,
) -> Option<Table> {
    let span = extends.node.span;
    let Some(name) = extends.node.as_text() else {
        found.push(wrong_type("extends", "the path of a file", &extends.node));
        return None;
    };
    let base = path.parent().unwrap_or(Path::new("")).join(path_of(name));
    let identity = base.canonicalize().unwrap_or_else(|_| base.clone());
    if let Some(start) = chain.iter().position(|(seen, _)| *seen == identity) {
        let circle: Vec<&str> = chain[start..].iter().map(|(_, shown)| shown.as_str()).collect();
        let text = format!("{} -> {}", circle.join(" -> "), circle[0]);
        found.push(Diagnostic::new(Problem::ExtendsCycle(text), span).label("this file is read already"));
        return None;
    }
    if chain.len() >= DEEPEST {
        let text = format!("more than {DEEPEST} files extend each other");
        found.push(Diagnostic::new(Problem::Conflict(text), span).label("this one is not read"));
        return None;
    }
    load_over(&base, Some(span), chain, sources, found)
}

/// Lays the option `--set PATH=VALUE` over a document. A value that is not TOML is a string.
pub fn set(document: Table, option: &str, sources: &mut Sources, found: &mut Diagnostics) -> Table {
    let source = sources.add("--set", option);
    let whole = Span { source, start: 0, end: option.len() };
    let Some((path, _)) = option.split_once('=') else {
        let problem = Problem::Conflict("`--set` takes PATH=VALUE".into());
        found.push(Diagnostic::new(problem, whole).help("for example --set optimizer.lr=1e-4".to_string()));
        return document;
    };
    if path.matches('.').count() >= DEEPEST {
        let problem = Problem::Conflict(format!("a path of more than {DEEPEST} names"));
        found.push(Diagnostic::new(problem, whole.part(0..path.len())));
        return document;
    }
    let value_at = whole.part(path.len() + 1..option.len());
    let value = parse_value(sources, value_at)
        .unwrap_or_else(|| Node::new(Value::Text(sources.slice(value_at).to_string()), value_at));
    let mut patch = nest(path, whole, value);
    patch.ask();
    lay_over(document, patch, found)
}

/// Sets a key of `[run]` from an option of the command line whose whole text is the value.
pub fn set_run(document: Table, key: &str, node: Node, found: &mut Diagnostics) -> Table {
    let span = node.span;
    let mut run = Table::default();
    run.put(key, node);
    let mut patch = Table::default();
    patch.put("run", Node::new(Value::Table(run), span));
    lay_over(document, patch, found)
}

/// The table `a = { b = { c = value } }` of the path `a.b.c`.
pub fn nest(path: &str, at: Span, value: Node) -> Table {
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    let key_span = at.part(0..key.len());
    let node = if rest.is_empty() {
        value
    } else {
        let inner = nest(rest, at.part(key.len() + 1..path.len()), value);
        Node::new(Value::Table(inner), at.part(0..path.len()))
    };
    Table { entries: vec![Entry { key: key.trim().into(), key_span, node, stands: Stands::Written }] }
}

/// Lays one document over another.
pub fn lay_over(mut base: Table, mut over: Table, found: &mut Diagnostics) -> Table {
    if over.get("layer").is_some_and(|layer| layer.as_table().is_some())
        && let Some(Entry { key_span, node: Node { value: Value::Table(patches), .. }, .. }) = over.remove("layer")
    {
        match base.get_mut("layer").map(|node| &mut node.value) {
            Some(Value::Array(layers)) => patch_layers(layers, patches, found),
            Some(_) | None => found.push(
                Diagnostic::new(
                    Problem::Conflict("`[layer.NAME]` patches a layer, but there is none".into()),
                    key_span,
                )
                .help("a file that extends none lists its layers as `[[layer]]`".to_string()),
            ),
        }
    }
    merge_entries(&mut base, over.entries, &EXCLUSIVE);
    base
}

/// Keys from which on a table is indexed before others are laid over it.
const MANY: usize = 16;

/// Where the keys of a table stand.
fn places(table: &Table) -> HashMap<String, usize> {
    table.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect()
}

fn merge_entries(base: &mut Table, over: Vec<Entry>, exclusive: &[&[&str]]) {
    let mut index = (over.len() >= MANY).then(|| places(base));
    for over in over {
        for group in exclusive.iter().filter(|group| group.contains(&over.key.as_str())) {
            base.entries.retain(|old| old.key == over.key || !group.contains(&old.key.as_str()));
            index = index.map(|_| places(base));
        }
        let place = match &index {
            Some(index) => index.get(&over.key).copied(),
            None => base.entries.iter().position(|old| old.key == over.key),
        };
        match (over.node.value, place.map(|at| &mut base.entries[at])) {
            (Value::Table(new), Some(Entry { node: Node { value: Value::Table(old), .. }, stands, .. })) => {
                *stands = over.stands;
                merge_table(old, new, exclusive_in(&over.key));
            }
            // The name of a component in place of its table: that is its `kind`.
            (Value::Text(name), Some(Entry { node: Node { value: Value::Table(old), .. }, stands, .. }))
                if old.get("kind").is_some() =>
            {
                *stands = over.stands;
                let node = Node { value: Value::Text(name), ..over.node };
                let kind = Entry { key: "kind".into(), key_span: over.key_span, node, stands: over.stands };
                merge_table(old, Table { entries: vec![kind] }, exclusive);
            }
            (value, Some(old)) => *old = Entry { node: Node { value, ..over.node }, ..over },
            (value, None) => {
                if let Some(index) = &mut index {
                    index.insert(over.key.clone(), base.entries.len());
                }
                base.entries.push(Entry { node: Node { value, ..over.node }, ..over });
            }
        }
    }
}

/// A changed `kind` keeps what was written for the old one as far as the new one has it, which the check decides: it
/// knows their keys. What this request asks for stays in any case, so that the order of its parts does not count.
fn merge_table(base: &mut Table, over: Table, exclusive: &[&[&str]]) {
    if let (Some(old), Some(new)) = (base.text("kind"), over.text("kind"))
        && old != new
    {
        let written = base.entries.iter_mut().filter(|entry| entry.stands == Stands::Written && entry.key != "name");
        written.for_each(|entry| entry.stands = Stands::Inherited);
    }
    merge_entries(base, over.entries, exclusive);
}

/// Takes away inherited keys, but those that a checked document still has.
pub fn forget_inherited(table: &mut Table, but: Option<&Table>) {
    let held = |key: &str| but.and_then(|but| but.get(key));
    table.entries.retain(|entry| entry.stands != Stands::Inherited || held(&entry.key).is_some());
    for entry in &mut table.entries {
        match &mut entry.node.value {
            Value::Table(inner) => forget_inherited(inner, held(&entry.key).and_then(Node::as_table)),
            Value::Array(items) => {
                let layers = but.map_or(&[][..], |but| but.nodes(&entry.key));
                for (i, item) in items.iter_mut().enumerate() {
                    if let Value::Table(inner) = &mut item.value {
                        forget_inherited(inner, layers.get(i).and_then(Node::as_table));
                    }
                }
            }
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
}

fn patch_layers(layers: &mut Vec<Node>, patches: Table, found: &mut Diagnostics) {
    if let Some(beyond) = patches.entries.get(MOST_PATCHES) {
        let text = format!("more than {MOST_PATCHES} layers are patched");
        found.push(Diagnostic::new(Problem::Conflict(text), beyond.key_span).label("none from here on is read"));
        return;
    }
    for patch in patches.entries {
        let Value::Table(mut changes) = patch.node.value else {
            let node = Node { value: patch.node.value, ..patch.node };
            found.push(wrong_type(&format!("layer.{}", patch.key), "a table of changes", &node));
            continue;
        };
        let position = layers.iter().position(|layer| name_of(layer) == Some(&patch.key));
        match (position, changes.remove("remove"), changes.remove("after")) {
            (Some(at), None, None) => {
                if let Value::Table(layer) = &mut layers[at].value {
                    merge_table(layer, changes, &EXCLUSIVE);
                }
            }
            (Some(at), Some(Entry { node: Node { value: Value::Bool(true), .. }, .. }), None) => {
                layers.remove(at);
            }
            (None, None, Some(after)) => {
                changes.put("name", Node::new(Value::Text(patch.key), patch.key_span));
                match layers.iter().position(|layer| name_of(layer) == after.node.as_text()) {
                    Some(at) => layers.insert(at + 1, Node::new(Value::Table(changes), patch.key_span)),
                    None => unknown_layer(after.node.as_text().unwrap_or(""), after.node.span, layers, found),
                }
            }
            (None, _, _) => unknown_layer(&patch.key, patch.key_span, layers, found),
            (Some(_), remove, after) => {
                let at = remove.or(after).map_or(patch.key_span, |entry| entry.node.span);
                let text = "a layer that is there takes changes, or `remove = true`, and nothing beside it";
                found.push(Diagnostic::new(Problem::Conflict(text.into()), at));
            }
        }
    }
}

fn name_of(layer: &Node) -> Option<&str> {
    layer.as_table().and_then(|table| table.text("name"))
}

fn unknown_layer(name: &str, at: Span, layers: &[Node], found: &mut Diagnostics) {
    let names: Vec<&str> = layers.iter().filter_map(name_of).collect();
    let help = found.suggest(name, names, "a new layer says `after = NAME`");
    found.push(Diagnostic::new(Problem::UnknownName { what: "layer".into(), name: name.into() }, at).help(help));
}

/// A value of the wrong type.
pub fn wrong_type(key: &str, expected: &str, node: &Node) -> Diagnostic {
    let problem = Problem::WrongType { key: key.into(), expected: expected.into(), found: node.value.describe() };
    Diagnostic::new(problem, node.span).label(format!("expected {expected}"))
}
