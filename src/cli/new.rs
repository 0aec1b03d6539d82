//! `runner new`: a commented text plugin that works as it is, to start from.

use super::{Exit, PluginArgs, fail, load_registry, out_of_order, print, refuse, tell_broken};
use crate::registry::Crate;
use crate::spec::check::name_fault;
use crate::spec::component::{Components, Kind};
use crate::spec::source::Sources;
use crate::store::files::{check_inside, create_folder, holds, replace_tidily};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Options of `runner new`.
#[derive(Args)]
pub struct NewArgs {
    /// What it is
    kind: NewKind,
    /// Its name: a small letter, then small letters, digits and `_`
    name: String,
    /// The folder that it is written to, where `runner` in the folder above finds it [default: plugins]
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum NewKind {
    /// Equations of a time step
    Neuron,
    /// The derivative that stands in for that of a spike
    Surrogate,
    /// Formulas over random draws and time
    Dataset,
}

impl NewKind {
    /// Its kind of component, the name in its template, the template, and where an experiment names it.
    fn template(self) -> (Kind, &'static str, &'static str, &'static str) {
        match self {
            NewKind::Neuron => (
                Kind::Neuron,
                "my_neuron",
                include_str!("../../plugins/template/my_neuron.toml"),
                "`kind = \"NAME\"` in a `[[layer]]`",
            ),
            NewKind::Surrogate => (
                Kind::Surrogate,
                "my_surrogate",
                include_str!("../../plugins/template/my_surrogate.toml"),
                "`surrogate = \"NAME\"` in a `[[layer]]`",
            ),
            NewKind::Dataset => (
                Kind::Dataset,
                "my_dataset",
                include_str!("../../plugins/template/my_dataset.toml"),
                "`kind = \"NAME\"` and `steps` in `[data]`",
            ),
        }
    }
}

/// Writes the template under its new name, unless something else of this name is there.
pub fn new(args: &NewArgs, crates: &[Crate]) -> Exit {
    let (kind, old, template, place) = args.kind.template();
    let name = &args.name;
    if let Some(fault) = name_fault(name) {
        return fail(fault.problem, Some(&fault.needed), Exit::Request);
    }
    let dir = args.dir.clone().unwrap_or_else(|| "plugins".into());
    let path = dir.join(format!("{name}.toml"));
    let text = template.replace(old, name);
    let made = holds(&path, text.as_bytes());
    if !made && path.symlink_metadata().is_ok() {
        let text = format!("{} is there already; nothing was written", path.display());
        return fail(text, Some("another name makes another plugin"), Exit::Request);
    }
    let mut sources = Sources::default();
    // It may be made only now.
    let plugins = dir.is_dir().then(|| dir.clone()).into_iter().collect();
    let registry = match load_registry(crates, &[], &PluginArgs { plugins }, &mut sources) {
        Ok(registry) => registry,
        Err(found) => return refuse(&found, &sources),
    };
    tell_broken(&registry, &sources);
    let taken = if kind == Kind::Neuron { Kind::Layer } else { kind };
    if let Some(info) = registry.info(taken, name).filter(|_| !made) {
        let origin = info.origin.name().map_or("built in".to_string(), |file| format!("in {file}"));
        let text = format!("a {taken} of the name `{name}` is {origin}; nothing was written");
        return fail(text, Some("another name keeps both"), Exit::Request);
    }
    // A folder that is named may be a link; that of the working directory leads nowhere else.
    let inside = if args.dir.is_some() { Ok(()) } else { check_inside(Path::new("."), "plugins") };
    let written = inside.and_then(|()| create_folder(&dir));
    if let Err(error) = written.and_then(|()| replace_tidily(&path, text.as_bytes())) {
        let help = "`--dir DIR` names a folder that can be written; nothing was written";
        return out_of_order(&error).unwrap_or_else(|| fail(error, Some(help), Exit::Request));
    }
    let found = if dir == Path::new("plugins") { "" } else { " --plugins " };
    let folder = if found.is_empty() { String::new() } else { dir.display().to_string() };
    print(&format!(
        "{}\n\nnext: `runner show {name}{found}{folder}`, and {} of an experiment\n",
        path.display(),
        place.replace("NAME", name)
    ));
    Exit::Fine
}
