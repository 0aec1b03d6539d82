//! The layout is the architecture: imports between the folders of `src`, and between the files of each, run one way.
//!
//! A file and the folder that it lies in, or that has its name, count as one place: a `mod.rs` is the door of its room.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Every module with its text, by its path in the crate.
fn modules(folder: &Path, path: &str, list: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let stem = entry.file_stem().unwrap().to_str().unwrap();
        let inner = if path.is_empty() { stem.to_string() } else { format!("{path}::{stem}") };
        if entry.is_dir() {
            modules(&entry, &inner, list);
        } else if entry.extension().is_some_and(|e| e == "rs") && !["lib", "main"].contains(&stem) {
            let name = if stem == "mod" { path.to_string() } else { inner };
            list.insert(name, std::fs::read_to_string(&entry).unwrap());
        }
    }
}

/// The paths that a list of imports such as `a::{b, c::{d}}` names.
fn paths(import: &str) -> Vec<String> {
    let import = import.trim();
    let Some((before, inner)) = import.split_once('{') else {
        return vec![import.split(" as ").next().unwrap_or_default().to_string()];
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let one = inner[start..at].trim();
                if !one.is_empty() {
                    found.extend(paths(&format!("{before}{one}")));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The module that a path means in another, as far as it is one of ours.
fn target(path: &str, from: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let mut place: Vec<&str> = from.split("::").collect();
    let mut words = path.split("::").map(str::trim).peekable();
    match words.peek() {
        Some(&"crate") => place.clear(),
        Some(&"super") => {}
        Some(&"self") => {}
        Some(word) if modules.contains_key(&format!("{from}::{word}")) => {}
        _ => return None,
    }
    for word in words {
        match word {
            "crate" | "self" => {}
            "super" => drop(place.pop()),
            word => place.push(word),
        }
    }
    while !place.is_empty() && !modules.contains_key(&place.join("::")) {
        place.pop();
    }
    (!place.is_empty()).then(|| place.join("::"))
}

/// Which module imports which.
fn imports(modules: &BTreeMap<String, String>) -> Graph {
    let mut graph = Graph::new();
    for (name, text) in modules {
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        let code = code.join(" ");
        let uses = code.split(" use ").skip(1).chain(code.strip_prefix("use "));
        let named = uses.filter_map(|rest| rest.split_once(';')).flat_map(|(import, _)| paths(import));
        let targets = named.filter_map(|path| target(&path, name, modules)).filter(|other| other != name);
        graph.insert(name.clone(), targets.collect());
    }
    graph
}

/// A way along imports that comes back to where it began.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn visit(at: &str, graph: &Graph, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if let Some(first) = way.iter().position(|place| place == at) {
            way.drain(..first);
            return true;
        }
        if done.contains(at) {
            return false;
        }
        way.push(at.to_string());
        if graph.get(at).into_iter().flatten().any(|next| visit(next, graph, way, done)) {
            return true;
        }
        way.pop();
        done.insert(at.to_string());
        false
    }
    let (mut way, mut done) = (Vec::new(), BTreeSet::new());
    graph.keys().any(|at| visit(at, graph, &mut way, &mut done)).then_some(way)
}

fn source() -> BTreeMap<String, String> {
    let mut list = BTreeMap::new();
    modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut list);
    list
}

#[test]
fn no_two_rooms_import_each_other() {
    let room = |path: &str| path.split("::").next().unwrap_or_default().to_string();
    let mut rooms = Graph::new();
    for (from, targets) in imports(&source()) {
        let others = targets.iter().map(|to| room(to)).filter(|to| *to != room(&from));
        rooms.entry(room(&from)).or_default().extend(others);
    }
    assert!(rooms.len() > 10 && rooms["study"].contains("store"), "{rooms:?}");
    assert_eq!(circle(&rooms), None);
}

#[test]
fn no_two_files_of_a_room_import_each_other() {
    let within = |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.starts_with("::"));
    let mut files = imports(&source());
    for (from, targets) in &mut files {
        targets.retain(|to| !within(from, to) && !within(to, from));
    }
    assert!(files["study::run"].contains("study::plan"), "{files:?}");
    assert_eq!(circle(&files), None);
}

/// One word a thing: a type's name means one thing wherever it is read. What traits ask for has the trait's name, and a
/// trait that depends on a feature is written twice.
#[test]
fn no_two_types_have_one_name() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, text) in source() {
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_string();
        // What is nested further is a trait's, or a test's.
        for line in text.lines().filter(|line| !line.starts_with([' ', '/'])) {
            let line =
                line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            let named = ["struct ", "enum ", "trait ", "type "].iter().find_map(|word| line.strip_prefix(word));
            let Some(named) = named else { continue };
            let name: String = named.chars().take_while(|c| c.is_alphanumeric()).collect();
            places.entry(name).or_default().insert(module.clone());
        }
    }
    assert!(places.len() > 300, "{}", places.len());
    places.retain(|_, modules| modules.len() > 1);
    assert_eq!(places, BTreeMap::new());
}

/// The test could not fail if it saw no imports.
#[test]
fn a_circle_is_found_wherever_it_is_closed() {
    let text = |uses: &str| uses.to_string();
    let modules: BTreeMap<String, String> = [
        ("a", text("use crate::b::{C, d::{E, F}};\n")),
        ("b", text("pub mod d;\n")),
        ("b::d", text("//! use crate::a;\nuse super::super::c::G;\n")),
        ("c", text("fn f() {}\nuse crate::a::H as I;\n")),
    ]
    .map(|(name, text)| (name.to_string(), text))
    .into();
    let found = circle(&imports(&modules)).unwrap();
    assert_eq!(found, ["a", "b::d", "c"]);
}
