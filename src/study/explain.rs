//! What makes a trial the one it is, and which of it changed.

use super::identity;
use super::plan::Plan;
use crate::registry::Registry;
use crate::spec::diagnostic::Diagnostics;
use crate::spec::print::value_toml;
use crate::spec::source::Sources;
use crate::spec::tree::{self, Node, Value};
use crate::store::manifest::IdentityParts;
use std::collections::{BTreeMap, BTreeSet};

/// Follows the name of a layer, for its place in the network.
const STANDS_AT: &str = " stands at";

/// The inputs of a trial's id by name: resolved keys, the meaning of each component, executor, device, data and seed.
/// What components and data mean is taken from `parts`, where these say it.
///
/// # Errors
/// As [`Plan::build`].
pub fn inputs(
    plan: &Plan,
    place: usize,
    parts: &IdentityParts,
    registry: &Registry,
) -> Result<BTreeMap<String, String>, Diagnostics> {
    let trial = &plan.trials[place];
    let mut inputs = flattened(&plan.trial_toml(trial, registry)?);
    let under = |path: &str, key: &str| path == key || path.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    inputs.retain(|path, _| !identity::WITHOUT_EFFECT.iter().any(|key| under(path, key)));
    inputs.insert("seed".into(), trial.seed.to_string());
    inputs.insert("executor".into(), plan.configuration(trial).executor.as_str().into());
    inputs.insert("device".into(), parts.device.clone());
    inputs.extend(parts.content.iter().map(|content| ("content of the data".to_string(), content.clone())));
    for (name, meaning) in identity::meanings(&identity::used(&plan.build(trial, registry)?.spec, registry)) {
        let meaning = parts.components.get(&name).cloned().unwrap_or(meaning);
        inputs.insert(format!("meaning of {name}"), meaning);
    }
    Ok(inputs)
}

/// A TOML document as paths with their values; layers go by their names.
pub fn flattened(toml: &str) -> BTreeMap<String, String> {
    let mut sources = Sources::default();
    let source = sources.add("manifest.json", toml);
    let document = tree::parse(&sources, source, &mut Diagnostics::default());
    let mut flat = BTreeMap::new();
    document.entries.iter().for_each(|entry| flatten(&entry.key, &entry.node, &mut flat));
    flat
}

fn flatten(path: &str, node: &Node, flat: &mut BTreeMap<String, String>) {
    match &node.value {
        Value::Table(table) if !table.entries.is_empty() => {
            table.entries.iter().for_each(|entry| flatten(&format!("{path}.{}", entry.key), &entry.node, flat));
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(|item| item.as_table().is_some()) => {
            for (i, item) in items.iter().enumerate() {
                let table = item.as_table();
                let name = table.and_then(|table| table.text("name").or(table.text("kind")));
                let path = format!("{path}.{}", name.map_or_else(|| i.to_string(), String::from));
                // The place counts: the same layers in another order are another network.
                flat.insert(format!("{path}{STANDS_AT}"), i.to_string());
                flatten(&path, item, flat);
            }
        }
        _ => {
            flat.insert(path.to_string(), value_toml(node));
        }
    }
}

/// What differs between two sets of named values, a line each. A layer that one of them lacks is one difference.
pub fn changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let lacking = |place: &&String| old.contains_key(*place) != new.contains_key(*place);
    let places = old.keys().chain(new.keys()).filter(|name| name.ends_with(STANDS_AT)).filter(lacking);
    let whole: Vec<&str> = places.map(|place| place.trim_end_matches(STANDS_AT)).collect();
    let inside =
        |name: &str| whole.iter().any(|layer| name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.')));
    let mut names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.retain(|name| !inside(name));
    let change = |name: &&String| match (old.get(*name), new.get(*name)) {
        (Some(a), Some(b)) if a == b => None,
        (Some(a), Some(b)) => Some(format!("{name}: {a} -> {b}")),
        (Some(a), None) => Some(format!("{name}: {a} -> not there")),
        (None, b) => Some(format!("{name}: not there -> {}", b.map_or("", String::as_str))),
    };
    names.iter().filter_map(change).collect()
}

/// The trial of a plan that comes nearest to a stored one: the same if it is there, else one of the same seed and with
/// as many values of the sweep in common as there can be.
pub fn nearest(plan: &Plan, id: &str, seed: u64, params: &[(String, String)]) -> Option<usize> {
    let likeness = |place: &usize| {
        let trial = &plan.trials[*place];
        let own = &plan.configuration(trial).params;
        let common = params.iter().filter(|param| own.contains(param)).count();
        (trial.id == id, common, trial.seed == seed, std::cmp::Reverse(*place))
    };
    (0..plan.trials.len()).max_by_key(likeness)
}
