//! Text plugins: what lies in `plugins/` folders.

use super::{Catalog, DatasetBuild, LayerBuild, MetricBuild, MetricOf, Registered, Registry, keys, passed};
use crate::data::function::FunctionModel;
use crate::neuron::{Model, Surrogate, describe, program};
use crate::nn::neurons::{NeuronKeys, Neurons};
use crate::program::{MetricKeys, Program, ProgramDataset, ProgramManifest, ProgramMetric, Provides};
use crate::spec::component::{Broken, Info, Kind, OWN_FUNCTIONS, Origin};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::source::{self, Sources, Span};
use crate::spec::tree::{self, Table};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest plugin file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

impl Registry {
    /// Reads the text plugins of a folder, if it is there: every `*.toml` in it, sorted by name. One that cannot be used,
    /// such as one that is half written, is left to be reported to whoever names it.
    pub fn add_folder(&mut self, folder: &Path, sources: &mut Sources) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        for path in files {
            let mut found = Diagnostics::default();
            let mut text = String::new();
            match source::read_plain(&path, MAX_BYTES) {
                Ok(read) => {
                    text.clone_from(&read);
                    let source = sources.add(source::text_of(&path), read);
                    self.add_plugin(source, Some(&path), sources, &mut found);
                }
                Err(error) => {
                    let path = path.clone();
                    found.push(Diagnostic::without_place(Problem::Unreadable { path, error }));
                }
            }
            if !found.is_empty() {
                self.broken.push(broken(&path, &text, found.list));
            }
        }
    }

    /// Adds a text plugin that lay in a file of this name.
    pub fn add_text(&mut self, name: &str, text: &str, sources: &mut Sources, found: &mut Diagnostics) {
        let source = sources.add(name, text);
        self.add_plugin(source, Some(&source::path_of(name)), sources, found);
    }

    /// Reads one text plugin; `path` where it is not built in.
    pub(super) fn add_plugin(
        &mut self,
        source: usize,
        path: Option<&Path>,
        sources: &Sources,
        found: &mut Diagnostics,
    ) {
        let at = Span { source, start: 0, end: 0 };
        let before = found.list.len();
        let table = tree::parse(sources, source, found);
        if found.list.len() > before {
            return;
        }
        let Some(name) = table.text("name").filter(|name| crate::spec::check::is_name(name)) else {
            let problem = Problem::MissingKey("name".into());
            let at = table.get("name").map_or(at, |node| node.span);
            found.push(Diagnostic::new(problem, at).label("a name of small letters, digits and `_`"));
            return;
        };
        let origin = path.map_or(Origin::BuiltIn, |path| Origin::Text {
            file: source::text_of(path),
            text: sources.get(at).text.clone(),
        });
        match table.text("kind") {
            Some("neuron") => {
                let Some(model) = Model::read(&table, at, sources, found) else { return };
                program::check(&model, found);
                if found.list.len() > before {
                    return;
                }
                let detail = describe::detail(table.text("step").unwrap_or(""), &model);
                let meaning = if model.calls_own() { OWN_FUNCTIONS } else { 1 };
                let known = crate::neuron::surrogate::info(&table, NeuronKeys::fields(&model), detail);
                let info = Info { origin, meaning, ..known };
                let model = Arc::new(model);
                let build: LayerBuild = Box::new(move |args, parts| {
                    let keys = passed(NeuronKeys::read(&model, args));
                    Arc::new(Neurons::new(model.clone(), keys, parts))
                });
                put(&mut self.neurons, Kind::Neuron, info, build, &table, found);
            }
            Some("surrogate") => {
                let Some(surrogate) = Surrogate::read(&table, sources, found) else { return };
                let info = Info { origin, ..surrogate.info.clone() };
                put(&mut self.surrogates, Kind::Surrogate, info, surrogate, &table, found);
            }
            Some("dataset") => {
                let Some(model) = FunctionModel::read(&table, at, sources, found) else { return };
                let info = Info { origin, ..model.info.clone() };
                let build: DatasetBuild = Arc::new(move |component, _| Ok(passed(model.build(&component.args))));
                put(&mut self.datasets, Kind::Dataset, info, build, &table, found);
            }
            Some("program") if path.is_some() => self.add_program(&table, at, sources, found),
            _ => {
                let at = table.get("kind").map_or(at, |node| node.span);
                let problem = Problem::Conflict(format!("the plugin `{name}` has no kind that is known"));
                found.push(
                    Diagnostic::new(problem, at)
                        .help("known here: `neuron`, `surrogate`, `dataset`, `program`".to_string()),
                );
            }
        }
    }
}

impl Registry {
    /// Reads the manifest of a program.
    fn add_program(&mut self, table: &Table, at: Span, sources: &Sources, found: &mut Diagnostics) {
        let of = sources.get(at);
        let Some(manifest) = ProgramManifest::read(table, at, &source::path_of(&of.name), &of.text, self, found) else {
            return;
        };
        let (info, provides) = (manifest.info.clone(), manifest.provides);
        if provides == Provides::Metric
            && let Some(why) = super::taken_by_tables(&info.name)
        {
            let at = table.get("name").map_or(at, |node| node.span);
            let help = format!("another name, such as `{}_score`", info.name);
            found.push(Diagnostic::new(Problem::Conflict(why), at).help(help));
            return;
        }
        let (unit, lower_is_better) = (manifest.unit.clone(), manifest.lower_is_better);
        let program = Arc::new(Program::new(manifest));
        self.programs.push(program.clone());
        match provides {
            Provides::Dataset => {
                let build: DatasetBuild = Arc::new(move |data, _| {
                    let values = program.manifest.values(&data.args);
                    Ok(Box::new(ProgramDataset::new(program.clone(), keys(&data.args), values)))
                });
                put(&mut self.datasets, Kind::Dataset, info, build, table, found);
            }
            Provides::Metric => {
                let build: MetricOf = Box::new(move |args| {
                    let MetricKeys { history } = keys(args);
                    Arc::new(ProgramMetric::new(program.clone(), history, program.manifest.values(args)))
                });
                let build = MetricBuild { build, unit, lower_is_better };
                put(&mut self.metrics, Kind::Metric, info, build, table, found);
            }
        }
    }
}

/// What a file that cannot be used may have been meant to be. Its lines are read alone, since it may be no TOML.
fn broken(path: &Path, text: &str, list: Vec<Diagnostic>) -> Broken {
    let given = |key: &str| {
        let value = |line: &str| {
            let value = line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')?.trim_start();
            let quote = value.chars().next().filter(|quote| "\"'".contains(*quote))?;
            Some(value[1..].split_once(quote)?.0.to_string())
        };
        text.lines().take_while(|line| !line.trim_start().starts_with('[')).find_map(value)
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = given("name").filter(|name| crate::spec::check::is_name(name)).unwrap_or_else(|| stem.clone());
    Broken { file: path.display().to_string(), name, stem, kind: given("kind"), list }
}

/// Adds a plugin. One that takes the name of another component must say so; two plugins of one name are an error.
fn put<B>(catalog: &mut Catalog<B>, kind: Kind, info: Info, build: B, table: &Table, found: &mut Diagnostics) {
    let at = table.get("name").map_or(Span::NONE, |node| node.span);
    let overrides = table.text("overrides") == Some(&info.name);
    let duplicate = || Problem::Duplicate { what: kind.to_string(), name: info.name.clone() };
    match catalog.get(&info.name).map(|entry| &entry.info) {
        Some(Info { origin: Origin::Text { file, .. } | Origin::Program { file, .. }, .. }) => {
            found.push(Diagnostic::new(duplicate(), at).help(format!("the other one is in {file}")));
        }
        Some(known) if !overrides => {
            let whose = known.origin.name().map_or("built in".to_string(), |name| format!("of the crate {name}"));
            let help = format!("a {kind} of this name is {whose}; to replace it say `overrides = \"{}\"`", info.name);
            found.push(Diagnostic::new(duplicate(), at).help(help));
        }
        _ => {
            catalog.insert(info.name.clone(), Registered { info, build });
        }
    }
}
