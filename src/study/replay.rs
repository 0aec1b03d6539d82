//! A stored trial once more: its plan from the manifest alone, and its run, which leaves nothing on disk.

use super::configuration::WEIGHTS;
use super::explain::nearest;
use super::identity::meanings;
use super::job::{Finished, Keep};
use super::plan::Plan;
use super::runs::Executor;
use super::train::{TrainError, once};
use crate::program::Program;
use crate::registry::{Crate, OnDevice, Registry};
use crate::spec;
use crate::spec::component::{Components, Kind, Origin};
use crate::spec::diagnostic::{Diagnostics, Problem};
use crate::spec::print::{FormulaStyle, toml};
use crate::spec::source::{Sources, Span};
use crate::spec::sweep::VARIANT;
use crate::spec::tree::{self, Node, Value};
use crate::store::SummaryRow;
use crate::store::manifest::Manifest;
use crate::tensor::DeviceName;
use std::path::Path;

/// Why a stored trial cannot be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The manifest's experiment cannot be read by this program.
    #[error("the manifest's experiment is not understood: {0}")]
    Spec(String),
    /// A file of data or weights that it reads is not there, or not what it was.
    #[error("what the trials read cannot be read any more: {0}")]
    Data(String),
    /// What it means now is another trial, and why.
    #[error("trial {trial} cannot be run again: {}", why.join("; "))]
    OtherMeaning {
        /// The trial.
        trial: String,
        /// What is not what it was, each in words.
        why: Vec<String>,
    },
    /// Its trials start a program, which was not allowed.
    #[error("{0} would be started, and programs run only with `--allow-programs`")]
    Program(String),
    /// The trial cannot be run.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl From<Diagnostics> for ReplayError {
    fn from(found: Diagnostics) -> Self {
        let text = found.in_a_line();
        let of_data = found.list.iter().all(|diagnostic| matches!(*diagnostic.problem, Problem::Data(_)));
        if of_data { ReplayError::Data(text) } else { ReplayError::Spec(text) }
    }
}

/// The components that a folder's trials were made of: those built in, of some crates, and the texts of its manifest.
pub fn registry(manifest: &Manifest, crates: &[Crate], sources: &mut Sources) -> Result<Registry, ReplayError> {
    let mut registry = Registry::with(crates, sources)?;
    let mut found = Diagnostics::default();
    for (name, text) in &manifest.plugins {
        registry.add_text(&place(name, &manifest.experiment), text, sources, &mut found);
    }
    if found.is_empty() { Ok(registry) } else { Err(found.into()) }
}

/// Refuses trials that would start a program.
///
/// # Errors
/// Where they come from one.
pub fn refuse_programs(registry: &Registry) -> Result<(), ReplayError> {
    let named = |program: &Program| format!("program `{}` ({})", program.manifest.name, program.manifest.file);
    registry.programs.first().map_or(Ok(()), |program| Err(ReplayError::Program(named(program))))
}

/// Where a plugin's file lies for whom is in another folder than the run was: a program consists of files beside it.
fn place(name: &str, experiment: &str) -> String {
    let folders = || Path::new(experiment).ancestors().skip(1).map(|folder| folder.join(name));
    let found = if Path::new(name).exists() { None } else { folders().find(|path| path.exists()) };
    found.map_or_else(|| name.to_string(), |path| path.display().to_string())
}

/// The plan of one stored trial alone.
///
/// # Errors
/// Where this program, with these components, gives it another id.
pub fn plan(
    manifest: &Manifest,
    row: &SummaryRow,
    registry: &Registry,
    sources: &mut Sources,
) -> Result<Plan, ReplayError> {
    let mut plan = like(manifest, row, registry, sources)?;
    if plan.trials.iter().all(|trial| trial.id != row.trial) {
        return Err(ReplayError::OtherMeaning {
            trial: row.trial.clone(),
            why: changes(manifest, row, &plan, registry),
        });
    }
    plan.trials.retain(|trial| trial.id == row.trial);
    Ok(plan)
}

/// What of the inputs of a stored trial is not what it was, in words.
fn changes(manifest: &Manifest, row: &SummaryRow, plan: &Plan, registry: &Registry) -> Vec<String> {
    let other = |(name, now): (&String, &String)| {
        let before = manifest.parts.components.get(name)?;
        (before != now).then(|| changed_component(name, before, now, registry))
    };
    let mut changes: Vec<String> = meanings(&plan.configurations.used).iter().filter_map(other).collect();
    let Some(place) = nearest(plan, &row.trial, row.seed, &row.params) else { return changes };
    let files = plan.build(&plan.trials[place], registry).map_or(Vec::new(), |of| plan.files(&of.spec, registry));
    let changed = |key: &str| digest_of(key, &manifest.parts.content) != digest_of(key, &plan.content);
    let said = |file: &Path| format!("{} is not what this trial was trained on", file.display());
    changes.extend(files.iter().filter(|(key, _)| changed(key)).map(|(_, file)| said(file)));
    if changes.is_empty() {
        // Where files are swept over, the digests are those of others.
        let varies = |key: &str| {
            let section = key.split('.').next().unwrap_or_default();
            plan.spec.sweep.as_ref().is_some_and(|sweep| sweep.varies(section))
        };
        changes.extend(files.iter().filter(|(key, _)| varies(key)).map(|(_, file)| said(file)));
    }
    if changes.is_empty() {
        changes.push("its seed and values in trials.parquet are those of another trial".into());
    }
    changes
}

/// What stands in a digest of content for the file of a key.
fn digest_of<'a>(key: &str, content: &'a Option<String>) -> &'a str {
    let content = content.as_deref().unwrap_or_default();
    let (data, weights) = content.split_once(WEIGHTS).unwrap_or((content, ""));
    if key == "init.weights" { weights } else { data }
}

/// What is said of a component, such as `dataset walk`, that does not mean what it meant.
fn changed_component(name: &str, before: &str, now: &str, registry: &Registry) -> String {
    let (kind, word) = name.split_once(' ').unwrap_or(("component", name));
    let info = Kind::ALL.iter().filter(|of| of.to_string() == kind).find_map(|of| registry.info(*of, word));
    match info.map(|info| &info.origin) {
        Some(Origin::Program { file, .. }) => {
            match registry
                .programs
                .iter()
                .find(|program| program.manifest.file == *file)
                .map_or(&[][..], |program| &program.manifest.files)
            {
                [] => format!("program `{word}` ({file}) lacks files that this trial was trained with"),
                [one] => format!("{one} is not what this trial was trained with, as program `{word}` ({file})"),
                several => {
                    let several = several.join(", ");
                    format!("one of {several} is not what this trial was trained with, as program `{word}` ({file})")
                }
            }
        }
        Some(Origin::Text { file, .. }) => {
            format!("the text of {file} in manifest.json is not what this trial was trained with")
        }
        _ => format!(
            "the {kind} `{word}` computes something else in this runner: it was of version {before}, and is of {now}"
        ),
    }
}

/// A plan that has a stored trial, or would have it if everything still meant what it did.
pub fn like(
    manifest: &Manifest,
    row: &SummaryRow,
    registry: &Registry,
    sources: &mut Sources,
) -> Result<Plan, ReplayError> {
    let device = if manifest.device() == "cuda" { DeviceName::Cuda } else { DeviceName::Cpu };
    let executor = if manifest.executor() == "reference" { Executor::Reference } else { Executor::Fused };
    let mut planned = |text: &str| -> Result<Plan, ReplayError> {
        let spec = spec::read_text(&manifest.experiment, text, manifest.laying, registry, sources)?;
        Ok(Plan::new(spec, registry, sources, executor, device)?)
    };
    // A value of a sweep that lost its type in a table is found in the whole study.
    match planned(&narrowed(&manifest.spec, row)) {
        Ok(plan) if plan.trials.iter().any(|trial| trial.id == row.trial) => Ok(plan),
        _ => planned(&manifest.spec),
    }
}

/// A study with the values and the seed of one trial alone.
fn narrowed(spec: &str, row: &SummaryRow) -> String {
    let mut sources = Sources::default();
    let source = sources.add("manifest.json", spec);
    let mut document = tree::parse(&sources, source, &mut Diagnostics::default());
    let at = Span { source, start: 0, end: 0 };
    let list = |value: Node| Node::new(Value::Array(vec![value]), at);
    if let Some(Value::Table(run)) = document.get_mut("run").map(|node| &mut node.value) {
        run.put("seeds", list(Node::new(Value::Int(row.seed as i64), at)));
    }
    if let Some(Value::Table(sweep)) = document.get_mut("sweep").map(|node| &mut node.value) {
        ["trials", "pruner", "fresh"].iter().for_each(|key| {
            sweep.remove(key);
        });
        sweep.put("sampler", Node::new(Value::Text("grid".into()), at));
        for (name, text) in &row.params {
            match (sweep.get_mut("over").map(|node| &mut node.value), name == VARIANT) {
                (Some(Value::Table(over)), false) => over.put(name, list(value(text))),
                _ => {
                    if let Some(Value::Table(variants)) = sweep.get_mut("variants").map(|node| &mut node.value) {
                        variants.entries.retain(|variant| variant.key == *text);
                    }
                }
            }
        }
    }
    toml(&document, FormulaStyle::Kept)
}

/// A value as a table shows it: TOML, or else a text without its quotes.
fn value(text: &str) -> Node {
    let mut sources = Sources::default();
    let at = Span { source: sources.add("trials.parquet", text), start: 0, end: text.len() };
    tree::parse_value(&sources, at).unwrap_or_else(|| Node::new(Value::Text(text.into()), at))
}

/// Runs the only trial of a plan.
pub fn run<D: OnDevice>(plan: &Plan, registry: &Registry, keep: Keep) -> Result<Finished, ReplayError> {
    Ok(once::<D>(plan, registry, &plan.trials[0], keep)?)
}
