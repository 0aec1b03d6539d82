//! A stored trial once more: its plan from the manifest alone, and its run, which leaves nothing on disk.

use super::job::{Finished, Keep};
use super::plan::{Executor, Plan};
use super::train::{TrainError, once};
use crate::registry::{Crate, OnDevice, Registry};
use crate::spec;
use crate::spec::diagnostic::{Diagnostics, Problem};
use crate::spec::print::{Formulas, toml};
use crate::spec::source::{Sources, Span};
use crate::spec::sweep::VARIANT;
use crate::spec::tree::{self, Node, Value};
use crate::store::SummaryRow;
use crate::store::manifest::Manifest;
use crate::tensor::DeviceName;

/// Why a stored trial cannot be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The manifest's experiment cannot be read by this program.
    #[error("the manifest's experiment is not understood: {0}")]
    Spec(String),
    /// A file of data or weights that it reads is not there, or not what it was.
    #[error("what the trials read cannot be read any more: {0}")]
    Data(String),
    /// What it means now is another trial.
    #[error("what the manifest says means another trial now: a component, a plugin or the data are not what they were")]
    OtherMeaning,
    /// The trial cannot be run.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl From<Diagnostics> for ReplayError {
    fn from(found: Diagnostics) -> Self {
        let problems = || found.list.iter().map(|diagnostic| diagnostic.problem.as_ref());
        let text = problems().map(Problem::to_string).collect::<Vec<_>>().join("; ");
        let of_data = problems().all(|problem| matches!(problem, Problem::Data(_)));
        if of_data { ReplayError::Data(text) } else { ReplayError::Spec(text) }
    }
}

/// The components that a folder's trials were made of: those built in, of some crates, and the texts of its manifest.
pub fn registry(manifest: &Manifest, crates: &[Crate], sources: &mut Sources) -> Result<Registry, ReplayError> {
    let mut registry = Registry::with(crates, sources)?;
    let mut found = Diagnostics::default();
    for (name, text) in &manifest.plugins {
        registry.add_text(name, text, sources, &mut found);
    }
    if found.is_empty() { Ok(registry) } else { Err(found.into()) }
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
    plan.trials.retain(|trial| trial.id == row.trial);
    if plan.trials.is_empty() { Err(ReplayError::OtherMeaning) } else { Ok(plan) }
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
    toml(&document, Formulas::Kept)
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
