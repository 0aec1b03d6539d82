//! What a request says otherwise than the folder that it names: why the trials of the two do not belong together.

use super::explain::{changes, flattened};
use super::identity::{self, WITHOUT_EFFECT, places};
use super::plan::Plan;
use crate::registry::Registry;
use crate::spec::component::{Components, Kind, Origin};
use crate::spec::print::{FormulaStyle, toml};
use crate::spec::source::Sources;
use crate::spec::{self, Spec};
use crate::store::manifest::Manifest;
use std::collections::BTreeMap;

/// Named values.
type NamedPart = BTreeMap<String, String>;

/// What differs between the study of a manifest and another, a line each, as far as it determines results.
pub fn differences(manifest: &Manifest, plan: &Plan, registry: &Registry) -> Vec<String> {
    let mut sources = Sources::default();
    let (name, text, laying) = (&manifest.experiment, &manifest.spec, manifest.laying);
    let stored = spec::read_text(name, text, laying, registry, &mut sources).ok();
    // What this program cannot read is compared as it is written.
    let old = stored.as_ref().map_or_else(|| flattened(text), resolved);
    let new = resolved(&plan.spec);
    let kinds = [old.get("data.kind"), new.get("data.kind")];
    let files: Vec<String> = places(&plan.spec.data.component.kind, registry);
    let swept = || manifest.swept.iter().chain(&plan.swept);
    let counts = |path: &str| {
        let under = |key: &str| path == key || path.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        !WITHOUT_EFFECT.iter().any(|key| under(key))
            && !swept().any(|key| under(key))
            && !files.iter().any(|key| under(key))
    };
    let of = |values: &NamedPart, swept: &[String], executor: &str, device: &str| -> NamedPart {
        let mut values: NamedPart =
            values.iter().filter(|(path, _)| counts(path)).map(|(a, b)| (a.clone(), b.clone())).collect();
        let mut swept = swept.to_vec();
        swept.sort_unstable();
        values.insert("what is swept".into(), if swept.is_empty() { "nothing".into() } else { swept.join(", ") });
        values.insert("executor".into(), executor.into());
        values.insert("device".into(), device.into());
        values
    };
    let mut found = changes(
        &of(&old, &manifest.swept, manifest.executor(), manifest.device()),
        &of(&new, &plan.swept, plan.executor.as_str(), plan.device.as_str()),
    );
    // Another kind brings other keys, which say less.
    found.sort_by_key(|change| !change.contains(".kind: "));
    if kinds[0] == kinds[1] {
        found.extend(of_files(manifest, plan, &files, &old, &new));
    }
    found.extend(of_components(manifest, plan, registry));
    found
}

/// A study's keys with the values that they have before anything is swept.
fn resolved(spec: &Spec) -> NamedPart {
    let mut table = spec.resolved.clone();
    table.remove("let");
    flattened(&toml(&table, FormulaStyle::Computed))
}

/// The files whose contents are other ones.
fn of_files(manifest: &Manifest, plan: &Plan, files: &[String], old: &NamedPart, new: &NamedPart) -> Vec<String> {
    let halves = |content: &Option<String>| -> (String, String) {
        let content = content.clone().unwrap_or_default();
        content.split_once(", weights ").map_or((content.clone(), String::new()), |(a, b)| (a.into(), b.into()))
    };
    let (then, now) = (halves(&manifest.parts.content), halves(&plan.content));
    let changed = |place: &str| if place == "init.weights" { then.1 != now.1 } else { then.0 != now.0 };
    let file = |place: &String| {
        // Only the name: a manifest has paths as they are seen from another folder.
        let name = |values: &NamedPart| {
            let text = values.get(place)?.trim_matches('"');
            Some(text.rsplit('/').next().unwrap_or(text).to_string())
        };
        match (name(old), name(new)) {
            (Some(a), Some(b)) if a == b => Some(format!("the file {b} changed")),
            (None, None) => None,
            (a, b) => {
                Some(format!("{place}: {} -> {}", a.unwrap_or("not there".into()), b.unwrap_or("not there".into())))
            }
        }
    };
    let mut found: Vec<String> = files.iter().filter(|place| changed(place)).filter_map(file).collect();
    if found.is_empty() && then != now {
        found.push("the content of the data changed".into());
    }
    found
}

/// The components that both name and that mean something else.
fn of_components(manifest: &Manifest, plan: &Plan, registry: &Registry) -> Vec<String> {
    let change = |((kind, name), now): (&(Kind, String), &String)| {
        let then = manifest.parts.components.get(&format!("{kind} {name}")).filter(|then| *then != now)?;
        let origin = registry.info(*kind, name).map(|info| &info.origin);
        Some(match origin {
            Some(Origin::Text { .. }) => format!("the text of plugin `{name}` changed"),
            Some(Origin::Program { .. }) => format!("the program of plugin `{name}` changed"),
            _ => format!("what {kind} `{name}` means: {then} -> {now}"),
        })
    };
    let used: &identity::Used = &plan.configurations.used;
    used.iter().filter_map(change).collect()
}
