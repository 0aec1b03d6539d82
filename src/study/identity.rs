//! What determines a trial's results, as a digest: equal ids mean equal rows.
//!
//! In: every resolved key except `name`, `about`, `let` (its values stand where they are used), `run`, `report`,
//! `sweep` and `train.save_every`;
//! the executor that runs it, the class of device, the version of meaning of each component and the digests of plugins; the seed.

use super::runs::Runs;
use crate::spec::component::{Components, Kind};
use crate::spec::fields::{Field, Type};
use crate::spec::print::{FormulaStyle, canonical, toml};
use crate::spec::tree::{Entry, Node, Table, Value};
use crate::spec::{Component, Spec};
use crate::store::weighed::digest;
use std::collections::BTreeMap;

/// Keys of an experiment file that do not change any number.
pub const WITHOUT_EFFECT: [&str; 7] = ["name", "about", "let", "run", "report", "sweep", "train.save_every"];

/// What stands for a built-in component that has never changed.
const FIRST: &str = "1";

/// Components, each with what stands for it in an identity: its version, or the digest of its text.
pub type Used = BTreeMap<(Kind, String), String>;

/// The digest of a configuration: all but the seed. `content` is that of its dataset, `used` what it names.
pub fn configuration(
    spec: &Spec,
    content: Option<String>,
    used: &Used,
    components: &dyn Components,
    runs: Runs,
) -> String {
    digest("configuration", &all_but(spec, &[], content, used, components, runs))
}

/// The digest of a folder, which all of its trials share: what is swept counts by its name, not by its values.
/// `content` is that of the dataset before anything is swept.
pub fn study(spec: &Spec, content: Option<String>, components: &dyn Components, runs: Runs) -> String {
    let dimensions = spec.sweep.as_ref().map_or(&[][..], |sweep| &sweep.dimensions);
    let names: Vec<&str> = dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    let mut parts = all_but(spec, &names, content, &used(spec, components), components, runs);
    let mut sorted = names.clone();
    sorted.sort_unstable();
    parts.push(sorted.join("\n"));
    digest("study", &parts)
}

/// All that determines results, without some paths of the experiment.
fn all_but(
    spec: &Spec,
    paths: &[&str],
    content: Option<String>,
    used: &Used,
    components: &dyn Components,
    runs: Runs,
) -> Vec<String> {
    // Whole sections without effect, such as a long list of seeds, are not copied first.
    let counts = |entry: &&Entry| !WITHOUT_EFFECT.contains(&entry.key.as_str());
    let mut table = Table { entries: spec.resolved.entries.iter().filter(counts).cloned().collect() };
    paths.iter().for_each(|path| remove(&mut table, path));
    WITHOUT_EFFECT.iter().for_each(|path| remove(&mut table, path));
    // What lies at a path counts, not the path.
    places(&spec.data.component.kind, components).iter().for_each(|path| remove(&mut table, path));
    let used: Vec<String> = used.iter().map(|((kind, name), value)| format!("{kind} {name} {value}")).collect();
    let mut parts =
        vec![canonical(&table), runs.executor.as_str().into(), runs.device.as_str().into(), used.join("\n")];
    parts.extend(content);
    parts
}

/// Keys that hold paths of files, with a dataset of some kind.
pub fn places(kind: &str, components: &dyn Components) -> Vec<String> {
    let fields = components.info(Kind::Dataset, kind).map_or(&[][..], |info| &info.fields);
    let paths = fields.iter().filter(|field| matches!(field.ty, Type::Path));
    paths.map(|field| format!("data.{}", field.name)).chain(["init.weights".into()]).collect()
}

/// Takes a path such as `optimizer.lr` or `layer.hidden_1.size` out of a document.
fn remove(table: &mut Table, path: &str) {
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    if rest.is_empty() {
        table.remove(key);
        return;
    }
    match table.get_mut(key).map(|node| &mut node.value) {
        Some(Value::Table(inner)) => remove(inner, rest),
        Some(Value::Array(layers)) => {
            let (name, rest) = rest.split_once('.').unwrap_or((rest, ""));
            let named = layers.iter_mut().filter_map(|layer| match &mut layer.value {
                Value::Table(layer) if layer.text("name") == Some(name) => Some(layer),
                _ => None,
            });
            named.for_each(|layer| remove(layer, rest));
        }
        _ => {}
    }
}

/// The digest of a whole request: of the study with its seeds and the values of its sweep, and of all components that
/// it could name. Equal digests mean the same list of trials, so that a large study need not be planned to see that
/// it is finished. None where a sweep could read other data in each configuration.
pub fn request(spec: &Spec, content: Option<String>, components: &dyn Components, runs: Runs) -> Option<String> {
    if spec.sweep.as_ref().is_some_and(|sweep| sweep.varies("data") || sweep.varies("init")) {
        return None;
    }
    let of = |kind: Kind| components.names(kind).into_iter().filter_map(move |name| components.info(kind, name));
    let meanings = Kind::ALL.into_iter().flat_map(of).map(|info| format!("{} {}", info.name, info.digest()));
    let study = study(spec, content, components, runs);
    let mut parts = vec![study, toml(&spec.resolved, FormulaStyle::Kept), meanings.collect::<Vec<_>>().join("\n")];
    // The same text meant other trials before keys outlived a changed kind.
    if spec.sweep.as_ref().is_some_and(|sweep| sweep.changes_kinds()) {
        parts.push("kinds keep keys".into());
    }
    Some(digest("request", &parts))
}

/// What each component means, by kind and name in words.
pub fn meanings(used: &Used) -> BTreeMap<String, String> {
    used.iter().map(|((kind, name), value)| (format!("{kind} {name}"), value.clone())).collect()
}

/// Text of each plugin among some components that is not built in, by file.
pub fn plugins(used: &Used, components: &dyn Components) -> BTreeMap<String, String> {
    let texts = used.keys().filter_map(|(kind, name)| components.info(*kind, name)?.origin.text());
    texts.map(|(file, text)| (file.to_string(), text.to_string())).collect()
}

/// Every component that a spec names, also by keys that a crate or a text declares.
pub fn used(spec: &Spec, components: &dyn Components) -> Used {
    let mut used = Used::new();
    let mut add =
        |kind: Kind, component: &Component| note(kind, &component.kind, &component.args, components, &mut used);
    add(Kind::Dataset, &spec.data.component);
    add(Kind::Optimizer, &spec.optimizer.component);
    spec.train.loss.iter().for_each(|term| add(Kind::Loss, &term.loss));
    spec.train.metrics.iter().for_each(|metric| add(Kind::Metric, metric));
    spec.layers.iter().for_each(|layer| add(Kind::Layer, &layer.component));
    used
}

/// Notes a component, and those that its keys name.
fn note(kind: Kind, name: &str, args: &Table, components: &dyn Components, used: &mut Used) {
    let Some(info) = components.info(kind, name) else { return };
    used.insert((kind, name.to_string()), info.digest());
    note_keys(&info.fields, args, components, used);
}

fn note_keys(fields: &[Field], args: &Table, components: &dyn Components, used: &mut Used) {
    for field in fields {
        if let Some(node) = args.get(&field.name) {
            note_value(&field.name, &field.ty, node, components, used);
        }
    }
}

/// Notes what the value of a key names.
fn note_value(key: &str, ty: &Type, node: &Node, components: &dyn Components, used: &mut Used) {
    match (ty, &node.value) {
        (Type::Parameter, Value::Table(table)) => {
            let drawn = table.entries.iter().filter_map(|entry| components.info(Kind::Initialiser, &entry.key));
            used.extend(drawn.map(|info| ((Kind::Initialiser, info.name.clone()), info.digest())));
        }
        (Type::Component(kind) | Type::Terms(kind), Value::Table(table)) => {
            let Some(info) = table.text("kind").and_then(|name| components.info(*kind, name)) else { return };
            // In digests of other keys' components 1 stands for itself, so that ids of earlier versions hold.
            let told = matches!((kind, key), (Kind::Surrogate, "surrogate") | (Kind::Initialiser, "init"));
            if told || table.get(&info.name).is_some() || info.digest() != FIRST {
                note(*kind, &info.name, table, components, used);
            }
        }
        (Type::Terms(_), Value::Array(items)) => {
            items.iter().for_each(|item| note_value(key, ty, item, components, used));
        }
        (Type::List(inner), Value::Array(items)) => {
            items.iter().for_each(|item| note_value(key, inner, item, components, used));
        }
        (Type::Table(fields), Value::Table(table)) => note_keys(fields, table, components, used),
        _ => {}
    }
}
