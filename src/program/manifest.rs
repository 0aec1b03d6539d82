//! The manifest of a program: what the registry knows of it without starting it.

use super::Failure;
use super::protocol::Description;
use crate::formula::is_identifier;
use crate::spec::check::Checker;
use crate::spec::component::{Components, Info, Origin};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::fields::{Field, Range, Type};
use crate::spec::merge::wrong_type;
use crate::spec::source::{Span, text_of};
use crate::spec::tree::{Entry, Node, Table, Value};
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
pub struct Manifest {
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

/// The keys of a manifest.
fn fields() -> Vec<Field> {
    let texts = || Type::List(Box::new(Type::Text));
    let provides = Type::Choice(vec!["dataset".into(), "metric".into()]);
    let limit = Range { min: 0.0, max: 3600.0, above: true };
    vec![
        Field::required("kind", Type::Text, "`program`"),
        Field::required("provides", provides, "what it provides"),
        Field::required("name", Type::Name, "its name"),
        Field::default("about", Type::Text, Value::Text(String::new()), "what it is, in a sentence"),
        Field::optional("source", Type::Text, "the paper it comes from"),
        Field::optional("overrides", Type::Text, "the built-in component that it replaces"),
        Field::required("command", texts(), "executable and arguments, run in the folder of this file"),
        Field::default("files", texts(), Value::Array(Vec::new()), "more files that it consists of"),
        Field::number("timeout_s", limit, 10.0, "seconds that an answer may take"),
        Field::optional("inputs", texts(), "names of the input channels, of a dataset"),
        Field::optional("targets", texts(), "names of the target channels, of a dataset"),
        Field::default("unit", Type::Text, Value::Text("1".into()), "unit of a metric, in terms of the target's"),
        Field::default("higher_is_better", Type::Bool, Value::Bool(false), "whether a metric is better when higher"),
        Field::optional("params", Type::Free, "keys of its own, a table with `default` and `about` each"),
    ]
}

/// Keys that every program of a kind takes.
fn own_fields(provides: Provides) -> Vec<Field> {
    match provides {
        Provides::Dataset => vec![
            Field::required("steps", Type::at_least(1), "time steps of a sample"),
            Field::default("samples", Type::at_least(1), Value::Int(1), "samples"),
        ],
        Provides::Metric => vec![Field::default(
            "history",
            Type::Bool,
            Value::Bool(false),
            "whether rows of the history have it too; else it is computed after training only",
        )],
    }
}

impl Manifest {
    /// Reads a manifest, which `origin` holds the file and text of.
    pub fn read(
        table: &Table,
        at: Span,
        file: &Path,
        text: &str,
        registry: &dyn Components,
        found: &mut Diagnostics,
    ) -> Option<Manifest> {
        let before = found.list.len();
        let checked = Checker::new(registry, found).table(table, &fields(), at);
        if found.list.len() > before {
            return None;
        }
        let provides = if checked.text("provides") == Some("dataset") { Provides::Dataset } else { Provides::Metric };
        let mut info_fields = own_fields(provides);
        let keys = read_params(&checked, &mut info_fields, found);
        let texts = |key: &str| -> Vec<String> {
            checked.nodes(key).iter().filter_map(|node| node.as_text().map(String::from)).collect()
        };
        for key in ["inputs", "targets"] {
            let (given, dataset) = (checked.nodes(key).len(), provides == Provides::Dataset);
            let names = texts(key);
            let twice = names.iter().enumerate().any(|(i, name)| names[..i].contains(name));
            if dataset && (given == 0 || given > 256 || twice) {
                let at = checked.get(key).map_or(at, |node| node.span);
                let label = "a dataset has 1 to 256 channels of different names here";
                found.push(Diagnostic::new(Problem::OutOfRange { key: key.into() }, at).label(label));
            }
        }
        let folder = std::path::absolute(file.parent().unwrap_or(Path::new(""))).ok()?;
        let Resolved { command, files, digest } = resolve(&checked, &folder, text, at, found)?;
        let beside = |name: String| text_of(&file.with_file_name(name));
        let files = files.into_iter().map(beside).collect();
        let file = text_of(file);
        if found.list.len() > before {
            return None;
        }
        let mut detail = format!("runs `{}`, only with `--allow-programs`\n", texts("command").join(" "));
        if provides == Provides::Dataset {
            detail += &format!("inputs: {}\ntargets: {}\n", texts("inputs").join(", "), texts("targets").join(", "));
        }
        let origin = Origin::Program { file: file.clone(), text: text.into(), digest: digest.clone() };
        Some(Manifest {
            info: Info { origin, ..crate::neuron::surrogate::info(&checked, info_fields, detail) },
            name: checked.string("name"),
            file,
            folder,
            provides,
            command,
            timeout_s: checked.number("timeout_s"),
            keys,
            inputs: texts("inputs"),
            targets: texts("targets"),
            files,
            unit: checked.string("unit"),
            lower_is_better: !checked.flag("higher_is_better"),
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
fn read_params(checked: &Table, fields: &mut Vec<Field>, found: &mut Diagnostics) -> Vec<String> {
    let empty = Table::default();
    let params = checked.get("params").and_then(Node::as_table).unwrap_or(&empty);
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
        let about = node.as_table().and_then(|inner| inner.text("about")).unwrap_or("");
        fields.push(Field::default(key, ty, default, about));
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
fn resolve(checked: &Table, folder: &Path, text: &str, at: Span, found: &mut Diagnostics) -> Option<Resolved> {
    let mut files = Vec::new();
    let words = checked.nodes("command");
    let mut hasher = blake3::Hasher::new_derive_key("runner 1 program");
    hasher.update(blake3::hash(text.as_bytes()).as_bytes());
    let mut missing = |node: &Node, error: io::Error| {
        let problem = Problem::Conflict(format!("`{}` cannot be read: {error}", node.as_text().unwrap_or("")));
        found.push(Diagnostic::new(problem, node.span).label("a file of the program, beside this file"));
    };
    for (i, node) in words.iter().chain(checked.nodes("files")).enumerate() {
        let name = node.as_text().unwrap_or("");
        let path = folder.join(name);
        let is_part = i >= words.len() || (i == 0 && name.contains('/'));
        if is_part || path.is_file() {
            match digest(&path) {
                Ok(digest) => {
                    hasher.update(name.as_bytes()).update(digest.as_bytes());
                    files.push(name.to_string());
                }
                Err(error) => missing(node, error),
            }
        }
    }
    let mut command: Vec<String> = words.iter().filter_map(|node| node.as_text().map(String::from)).collect();
    let Some(first) = command.first_mut() else {
        let at = checked.get("command").map_or(at, |node| node.span);
        found.push(Diagnostic::new(Problem::OutOfRange { key: "command".into() }, at).label("an executable at least"));
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
