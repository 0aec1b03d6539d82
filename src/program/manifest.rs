//! The manifest of a program: what the registry knows of it without starting it.

use super::Failure;
use super::protocol::Description;
use crate::data::function::SampleKeys;
use crate::formula::is_identifier;
use crate::keys;
use crate::spec::check::Checker;
use crate::spec::component::{Components, Info, Origin};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::fields::{Field, Presence, Range, Type};
use crate::spec::key::{Choice, Keys, Placed};
use crate::spec::merge::wrong_type;
use crate::spec::source::{Span, text_of};
use crate::spec::tree::{Entry, Table, Value};
use serde_json::{Map, Value as Json};
use std::io;
use std::path::{Path, PathBuf};

/// What a program provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provides {
    /// Inputs and targets.
    Dataset,
    /// A number from output and target.
    Metric,
}

impl Provides {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Provides::Dataset => "dataset",
            Provides::Metric => "metric",
        }
    }
}

/// A program as its manifest describes it.
#[derive(Debug, Clone)]
pub struct ProgramManifest {
    /// What the registry shows.
    pub info: Info,
    /// Its name.
    pub name: String,
    /// The manifest's file.
    pub file: String,
    /// The folder of the manifest, in which it runs.
    pub folder: PathBuf,
    /// What it provides.
    pub provides: Provides,
    /// Executable and arguments.
    pub command: Vec<String>,
    /// Seconds that an answer may take.
    pub timeout_s: f64,
    /// Its own keys.
    pub keys: Vec<String>,
    /// Names of input channels.
    pub inputs: Vec<String>,
    /// Names of target channels.
    pub targets: Vec<String>,
    /// Unit of a metric.
    pub unit: String,
    /// Whether a metric is better the lower it is.
    pub lower_is_better: bool,
    /// The files that it consists of beside the manifest, as far as they are seen.
    pub files: Vec<String>,
    /// Digest of the manifest and of the program's files.
    pub digest: String,
}

impl Choice for Provides {
    const WORDS: &'static [(&'static str, Provides)] = &[("dataset", Provides::Dataset), ("metric", Provides::Metric)];
}

/// Seconds that an answer may take.
const LIMIT: Range = Range { min: 0.0, max: 3600.0, above: true };

keys! {
    /// The keys of a manifest.
    struct ManifestKeys {
        /// `program`
        kind: String = text(),
        /// what it provides
        provides: Provides = one_of(),
        /// its name
        name: String = name(),
        /// what it is, in a sentence
        about: String = text().or(String::new()),
        /// the paper it comes from
        source: Option<String> = text().optional(),
        /// the built-in component that it replaces
        overrides: Option<String> = text().optional(),
        /// executable and arguments, run in the folder of this file
        command: Placed<Vec<Placed<String>>> = list(text().placed()).placed(),
        /// more files that it consists of
        files: Vec<Placed<String>> = list(text().placed()).or_written(Value::Array(Vec::new())),
        /// seconds that an answer may take
        timeout_s: f64 = number(LIMIT).or(10.0),
        /// names of the input channels, of a dataset
        inputs: Option<Placed<Vec<String>>> = list(text()).placed().optional(),
        /// names of the target channels, of a dataset
        targets: Option<Placed<Vec<String>>> = list(text()).placed().optional(),
        /// unit of a metric, in terms of the target's
        unit: String = text().or("1".into()),
        /// whether a metric is better when higher
        higher_is_better: bool = flag().or(false),
        /// keys of its own, a table with `default` and `about` each
        params: Option<Table> = free().optional(),
    }
}

keys! {
    /// The keys of every metric that a program computes.
    pub struct MetricKeys {
        /// whether rows of the history have it too; else it is computed after training only
        pub history: bool = flag().or(false),
    }
}

/// Keys that every program of a kind takes.
fn own_fields(provides: Provides) -> Vec<Field> {
    match provides {
        Provides::Dataset => SampleKeys::fields(),
        Provides::Metric => MetricKeys::fields(),
    }
}

impl ProgramManifest {
    /// Reads a manifest, which `origin` holds the file and text of.
    pub fn read(
        table: &Table,
        at: Span,
        file: &Path,
        text: &str,
        registry: &dyn Components,
        found: &mut Diagnostics,
    ) -> Option<ProgramManifest> {
        let before = found.list.len();
        let checked = Checker::new(registry, found).table(table, &ManifestKeys::fields(), at);
        if found.list.len() > before {
            return None;
        }
        let said = ManifestKeys::read(&checked)?;
        let provides = said.provides;
        let mut info_fields = own_fields(provides);
        let keys = read_params(&said.params.unwrap_or_default(), &mut info_fields, found);
        let channels =
            |names: Option<Placed<Vec<String>>>| names.map_or((Vec::new(), at), |names| (names.value, names.at));
        let [(inputs, inputs_at), (targets, targets_at)] = [channels(said.inputs), channels(said.targets)];
        for (key, names, at) in [("inputs", &inputs, inputs_at), ("targets", &targets, targets_at)] {
            let twice = names.iter().enumerate().any(|(i, name)| names[..i].contains(name));
            if provides == Provides::Dataset && (names.is_empty() || names.len() > 256 || twice) {
                let label = "a dataset has 1 to 256 channels of different names here";
                found.push(Diagnostic::new(Problem::OutOfRange { key: key.into() }, at).label(label));
            }
        }
        let folder = std::path::absolute(file.parent().unwrap_or(Path::new(""))).ok()?;
        let Resolved { command, files, digest } = resolve(&said.command, &said.files, &folder, text, found)?;
        let beside = |name: String| text_of(&file.with_file_name(name));
        let files = files.into_iter().map(beside).collect();
        let file = text_of(file);
        if found.list.len() > before {
            return None;
        }
        let words: Vec<&str> = said.command.value.iter().map(|word| word.value.as_str()).collect();
        let mut detail = format!("runs `{}`, only with `--allow-programs`\n", words.join(" "));
        if provides == Provides::Dataset {
            detail += &format!("inputs: {}\ntargets: {}\n", inputs.join(", "), targets.join(", "));
        }
        let origin = Origin::Program { file: file.clone(), text: text.into(), digest: digest.clone() };
        Some(ProgramManifest {
            info: Info { origin, ..crate::neuron::surrogate::info(&checked, info_fields, detail) },
            name: said.name,
            file,
            folder,
            provides,
            command,
            timeout_s: said.timeout_s,
            keys,
            inputs,
            targets,
            files,
            unit: said.unit,
            lower_is_better: !said.higher_is_better,
            digest,
        })
    }

    /// The values of its own keys.
    pub fn values(&self, args: &Table) -> Map<String, Json> {
        let value = |key: &String| {
            let value = match &args.get(key)?.value {
                Value::Bool(b) => Json::from(*b),
                Value::Int(i) => Json::from(*i),
                Value::Float(f) => Json::from(*f),
                Value::Text(text) => Json::from(text.as_str()),
                Value::Array(_) | Value::Table(_) => return None,
            };
            Some((key.clone(), value))
        };
        self.keys.iter().filter_map(value).collect()
    }

    /// Holds what a program says of itself against this.
    pub fn compare(&self, described: &Description) -> Result<(), Failure> {
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        let pairs = [
            ("keys", sorted(&described.keys), sorted(&self.keys)),
            ("inputs", described.inputs.clone(), self.inputs.clone()),
            ("targets", described.targets.clone(), self.targets.clone()),
        ];
        match pairs.into_iter().find(|(_, said, ours)| said != ours) {
            None => Ok(()),
            Some((what, said, ours)) => {
                let list = |names: &[String]| format!("[{}]", names.join(", "));
                let why = format!("its {what} are {}, and {} in its manifest", list(&said), list(&ours));
                Err(Failure::Wrong { asked: "describe", why })
            }
        }
    }
}

/// The keys of `[params]`, whose types are those of their defaults.
fn read_params(params: &Table, fields: &mut Vec<Field>, found: &mut Diagnostics) -> Vec<String> {
    let mut keys = Vec::new();
    for Entry { key, key_span, node, .. } in &params.entries {
        let taken = ["kind", "seed", "name"].contains(&key.as_str()) || fields.iter().any(|field| field.name == *key);
        if taken || !is_identifier(key) {
            let text = format!("`{key}` cannot be the name of a key");
            let label = if taken { "every component of this kind has it" } else { "letters, digits and `_`" };
            found.push(Diagnostic::new(Problem::Conflict(text), *key_span).label(label));
            continue;
        }
        let default = node.as_table().and_then(|inner| inner.get("default")).map(|node| node.value.clone());
        let (ty, default) = match default {
            Some(Value::Bool(b)) => (Type::Bool, Value::Bool(b)),
            Some(Value::Int(i)) => (Type::Int { min: i64::MIN, max: i64::MAX }, Value::Int(i)),
            Some(Value::Float(f)) => (Type::Number(Range::ANY), Value::Float(f)),
            Some(Value::Text(text)) => (Type::Text, Value::Text(text)),
            _ => {
                found.push(wrong_type(key, "a table with a number, string, `true` or `false` as `default`", node));
                continue;
            }
        };
        let about = node.as_table().and_then(|inner| inner.text("about")).unwrap_or("").into();
        fields.push(Field { name: key.clone(), about, ty, presence: Presence::Default(default) });
        keys.push(key.clone());
    }
    keys
}

/// What a program consists of.
struct Resolved {
    /// The command with the path of its executable.
    command: Vec<String>,
    /// Its files, as the manifest names them.
    files: Vec<String>,
    /// The digest of the manifest and of these.
    digest: String,
}

/// Finds the files of a program.
fn resolve(
    words: &Placed<Vec<Placed<String>>>,
    more: &[Placed<String>],
    folder: &Path,
    text: &str,
    found: &mut Diagnostics,
) -> Option<Resolved> {
    let Placed { value: words, at, .. } = words;
    let mut files = Vec::new();
    let mut hasher = blake3::Hasher::new_derive_key("runner 1 program");
    hasher.update(blake3::hash(text.as_bytes()).as_bytes());
    let mut missing = |file: &Placed<String>, error: io::Error| {
        let problem = Problem::Conflict(format!("`{}` cannot be read: {error}", file.value));
        found.push(Diagnostic::new(problem, file.at).label("a file of the program, beside this file"));
    };
    for (i, file) in words.iter().chain(more).enumerate() {
        let name = &file.value;
        let path = folder.join(name);
        let is_part = i >= words.len() || (i == 0 && name.contains('/'));
        if is_part || path.is_file() {
            match digest(&path) {
                Ok(digest) => {
                    hasher.update(name.as_bytes()).update(digest.as_bytes());
                    files.push(name.to_string());
                }
                Err(error) => missing(file, error),
            }
        }
    }
    let mut command: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
    let Some(first) = command.first_mut() else {
        found.push(Diagnostic::new(Problem::OutOfRange { key: "command".into() }, *at).label("an executable at least"));
        return None;
    };
    if first.contains('/') {
        *first = text_of(&folder.join(&*first));
    }
    Some(Resolved { command, files, digest: hasher.finalize().to_hex().to_string() })
}

fn digest(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(crate::spec::source::open(path)?)?;
    Ok(hasher.finalize())
}
