//! `runner list`, `runner show` and `runner schema`: what the registry has.

use super::{Exit, PluginArgs, fail, load_registry, print, print_code, refuse, tell_broken};
use crate::registry::{Crate, Registry};
use crate::spec::component::{Broken, Components, Info, Kind};
use crate::spec::diagnostic::{Diagnostics, nearest};
use crate::spec::fields::{Field, Presence};
use crate::spec::keys::common_fields;
use crate::spec::print::{FormulaStyle, toml};
use crate::spec::schema::schema as json_schema;
use crate::spec::source::{Sources, Span};
use crate::spec::tree::{Entry, Node, Stands, Table, Value};
use clap::Args;

/// Options of `runner show`.
#[derive(Args)]
pub struct ShowArgs {
    /// The component's name, or its kind and name
    #[arg(required = true, num_args = 1..=2, value_name = "[KIND] NAME")]
    words: Vec<String>,
    #[command(flatten)]
    plugins: PluginArgs,
}

/// Prints every component with a line about it.
pub fn list(args: &PluginArgs, crates: &[Crate]) -> Exit {
    with_registry(args, crates, |registry, sources| {
        tell_broken(registry, sources);
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Neuron) {
            print(&format!("{}\n", kind.plural()));
            for name in registry.names(kind) {
                let Some(info) = registry.info(kind, name) else { continue };
                let origin = info.origin.name().map_or(String::new(), |name| format!(" ({name})"));
                print(&format!("  {name:<26} {}{origin}\n", first_words(&info.about)));
            }
            print("\n");
        }
        print("`runner show NAME` tells more.\n");
        Exit::Fine
    })
}

/// Prints what a component is, its equations and its keys.
pub fn show(args: &ShowArgs, crates: &[Crate]) -> Exit {
    with_registry(&args.plugins, crates, |registry, sources| {
        let (kind, name) = match args.words.as_slice() {
            [kind, name] => (Some(kind.as_str()), name.as_str()),
            [name] => (None, name.as_str()),
            _ => (None, ""),
        };
        let layer = kind == Some("layer") || registry.layers.contains_key(name);
        let kinds = Kind::ALL.into_iter().filter(|k| *k != Kind::Layer || layer);
        let kinds: Vec<Kind> = kinds.filter(|k| kind.is_none_or(|kind| k.to_string() == kind)).collect();
        let infos: Vec<(Kind, &Info)> = kinds.iter().filter_map(|k| Some((*k, registry.info(*k, name)?))).collect();
        let broken: Vec<&Broken> = kinds.iter().flat_map(|kind| registry.broken(*kind, name)).collect();
        if infos.is_empty() && !broken.is_empty() {
            let list = broken.iter().flat_map(|broken| &broken.list).cloned().collect();
            return refuse(&Diagnostics { list }, sources);
        }
        tell_broken(registry, sources);
        if infos.is_empty() {
            let names = Kind::ALL.iter().flat_map(|kind| registry.names(*kind));
            let help = match nearest(name, names) {
                Some(near) => format!("did you mean `{near}`? `runner list` shows them all"),
                None => "`runner list` shows them all".into(),
            };
            let what = kind.unwrap_or("component");
            return fail(format!("unknown {what} `{name}`"), Some(&help), Exit::Request);
        }
        infos.into_iter().for_each(|(kind, info)| print(&page(kind, info, registry)));
        Exit::Fine
    })
}

/// Prints the JSON Schema of experiment files.
pub fn schema(args: &PluginArgs, crates: &[Crate]) -> Exit {
    with_registry(args, crates, |registry, sources| {
        tell_broken(registry, sources);
        print_code(&format!("{:#}\n", json_schema(registry)));
        Exit::Fine
    })
}

/// An `about` up to its first stop.
fn first_words(about: &str) -> &str {
    let stops = [": ", ". ", "; "].iter().filter_map(|stop| about.find(stop));
    &about[..stops.min().unwrap_or(about.len())]
}

fn with_registry(args: &PluginArgs, crates: &[Crate], body: impl FnOnce(&Registry, &Sources) -> Exit) -> Exit {
    let mut sources = Sources::default();
    match load_registry(crates, &[], args, &mut sources) {
        Ok(registry) => body(&registry, &sources),
        Err(found) => refuse(&found, &sources),
    }
}

fn page(kind: Kind, info: &Info, registry: &Registry) -> String {
    let mut page = format!("{kind} `{}`\n\n{}\n", info.name, info.about);
    if let Some(source) = &info.source {
        page += &format!("source: {source}\n");
    }
    if let Some(name) = info.origin.name() {
        page += &format!("plugin: {name}\n");
    }
    if !info.detail.is_empty() {
        page += &format!("\n{}", info.detail);
    }
    page += &surrogate_line(kind, info, registry).unwrap_or_default();
    let mut fields = info.fields.clone();
    fields.extend(common_fields(if kind == Kind::Neuron { Kind::Layer } else { kind }));
    if !fields.is_empty() {
        page += "\nkeys\n";
        fields.iter().for_each(|field| page += &line(field));
    }
    page + "\n"
}

/// How large the surrogate is that is shown, or that a neuron has unless another is named.
fn surrogate_line(kind: Kind, info: &Info, registry: &Registry) -> Option<String> {
    let of = |name: &str| Some(registry.surrogates.get(name)?.build.peak()?.describe());
    if kind == Kind::Surrogate {
        return Some(format!("{}\n", of(&info.name)?));
    }
    match &info.fields.iter().find(|field| field.name == "surrogate")?.presence {
        Presence::Default(Value::Text(name)) => {
            Some(format!("\nsurrogate(x) of `{name}`, x being the potential above the threshold; {}\n", of(name)?))
        }
        _ => None,
    }
}

fn line(field: &Field) -> String {
    let default = match &field.presence {
        Presence::Required => "required".to_string(),
        Presence::Optional => "optional".to_string(),
        Presence::Default(value) => format!("default {}", shown(value)),
    };
    format!("  {:<12} {} [{}; {default}]\n", field.name, field.about, field.ty.describe())
}

fn shown(value: &Value) -> String {
    let at = Span::NONE;
    let node = Node::new(value.clone(), at);
    let table = Table { entries: vec![Entry { key: "v".into(), key_span: at, node, stands: Stands::Written }] };
    toml(&table, FormulaStyle::Kept).trim().trim_start_matches("v = ").to_string()
}
