//! Datasets that a text describes: draws, and formulas over them and time.
//!
//! `t` runs from 0 at the first to 1 at the last step. Draws are made in the order in which they are written, each
//! once a sample or once for the whole dataset; then inputs, and targets that may use inputs.

use super::{Data, DataError, DataShape, Dataset};
use crate::formula::{Expr, constant, parse};
use crate::keys;
use crate::neuron::limits;
use crate::neuron::surrogate::info;
use crate::random::Draws;
use crate::spec::component::{Info, OWN_FUNCTIONS};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::key::{KeyType, Keys, Range, number};
use crate::spec::merge::wrong_type;
use crate::spec::source::{Sources, Span};
use crate::spec::tree::{Entry, Node, Table};
use crate::spec::values::formula_error;
use std::collections::HashMap;
use std::sync::Arc;

/// A dataset as its text describes it.
#[derive(Debug, Clone)]
pub struct FunctionModel {
    /// What the registry shows.
    pub info: Info,
    formulas: Arc<Formulas>,
}

/// What it computes, which its datasets share.
#[derive(Debug)]
struct Formulas {
    draws: Vec<Draw>,
    inputs: Vec<(String, Expr)>,
    targets: Vec<(String, Expr)>,
}

#[derive(Debug, Clone)]
struct Draw {
    name: String,
    distribution: Distribution,
    per_sample: bool,
}

#[derive(Debug, Clone, Copy)]
enum Distribution {
    Uniform(f64, f64),
    Normal(f64, f64),
}

keys! {
    /// How much a dataset that is made anew each time has.
    pub struct SampleKeys {
        /// time steps of a sample
        pub steps: usize = at_least(1),
        /// samples
        pub samples: usize = at_least(1).or(1),
    }
}

/// Whether a formula calls functions that the binary brings.
fn own_functions(expr: &Expr) -> bool {
    use crate::formula::Function::{Cos, Exp, Log, Sigmoid, Sin, Tanh};
    expr.has_power(2.0) || [Exp, Log, Tanh, Sin, Cos, Sigmoid].iter().any(|function| expr.calls(*function))
}

/// Draws, and channels, at most of each.
const MAX_NAMES: usize = 64;

impl FunctionModel {
    /// Reads a text plugin whose `kind` is `dataset`.
    pub fn read(table: &Table, at: Span, sources: &Sources, found: &mut Diagnostics) -> Option<FunctionModel> {
        let before = found.list.len();
        let draws = read_draws(table, found);
        let mut known: Vec<String> = draws.iter().map(|draw| draw.name.clone()).chain(["t".into()]).collect();
        let inputs = read_channels(table, "inputs", at, &mut known, sources, found);
        let targets = read_channels(table, "targets", at, &mut known, sources, found);
        let formulas = || inputs.iter().chain(&targets).map(|(_, expr)| expr);
        for (what, key, size, most) in [
            ("draws", "draws", draws.len(), MAX_NAMES),
            ("channels", "inputs", inputs.len() + targets.len(), MAX_NAMES),
            ("operations and names in its formulas", "inputs", formulas().map(Expr::size).sum(), limits::MAX_SIZE),
        ] {
            if size > most {
                let text = format!("a dataset of {size} {what}; at most {most} are allowed");
                let at = table.entry(key).map_or(at, |entry| entry.key_span);
                found.push(Diagnostic::new(Problem::Conflict(text), at));
            }
        }
        let mut fields = SampleKeys::fields();
        let entries = table.get("draws").and_then(Node::as_table).map(|t| t.entries.as_slice()).unwrap_or_default();
        for entry in entries {
            let about = entry.node.as_table().and_then(|inner| inner.text("about")).unwrap_or("");
            fields.push(number(Range::ANY).optional().field(&entry.key, &format!("{about}; drawn unless given")));
        }
        let line = |(name, expr): &(String, Expr)| format!("{name} = {expr}\n");
        let detail: String = inputs.iter().chain(&targets).map(line).collect();
        let normal = draws.iter().any(|draw| matches!(draw.distribution, Distribution::Normal(..)));
        let meaning = if normal || formulas().any(own_functions) { OWN_FUNCTIONS } else { 1 };
        (found.list.len() == before).then(|| FunctionModel {
            info: Info { meaning, ..info(table, fields, detail) },
            formulas: Arc::new(Formulas { draws, inputs, targets }),
        })
    }

    /// The dataset of a table that was checked against its fields; none where it was not.
    pub fn build(&self, checked: &Table) -> Option<Box<dyn Dataset>> {
        let SampleKeys { steps, samples } = SampleKeys::read(checked)?;
        let given = self.formulas.draws.iter().map(|draw| Option::from_table(checked, &draw.name));
        let (given, formulas) = (given.collect::<Option<_>>()?, self.formulas.clone());
        Some(Box::new(FunctionDataset { steps, samples, given, formulas }))
    }
}

struct FunctionDataset {
    formulas: Arc<Formulas>,
    steps: usize,
    samples: usize,
    /// Values in place of draws.
    given: Vec<Option<f64>>,
}

impl Dataset for FunctionDataset {
    fn shape(&self) -> DataShape {
        let names = |channels: &[(String, Expr)]| channels.iter().map(|(name, _)| name.clone()).collect();
        DataShape {
            steps: self.steps,
            samples: self.samples,
            inputs: names(&self.formulas.inputs),
            targets: names(&self.formulas.targets),
        }
    }

    fn draw(&self, draws: &mut dyn Draws) -> Result<Data, DataError> {
        let drawn: Vec<Vec<f32>> =
            self.formulas.draws.iter().zip(&self.given).map(|(draw, given)| self.one(draw, *given, draws)).collect();
        let mut data = Data { steps: self.steps, samples: self.samples, ..Data::default() };
        let mut values = HashMap::new();
        for step in 0..self.steps {
            for sample in 0..self.samples {
                let last = (self.steps - 1).max(1) as f64;
                values.insert("t", step as f64 / last);
                for (draw, drawn) in self.formulas.draws.iter().zip(&drawn) {
                    values.insert(&draw.name, f64::from(drawn[sample % drawn.len()]));
                }
                // Channels are checked on reading, so a formula that fails here has no value at this point.
                for (name, expr) in &self.formulas.inputs {
                    let value = expr.eval(&|name| values.get(name).copied()).unwrap_or(f64::NAN) as f32;
                    values.insert(name, f64::from(value));
                    data.inputs.push(value);
                }
                for (name, expr) in &self.formulas.targets {
                    let value = expr.eval(&|name| values.get(name).copied()).unwrap_or(f64::NAN) as f32;
                    values.insert(name, f64::from(value));
                    data.targets.push(value);
                }
            }
        }
        Ok(data)
    }
}

impl FunctionDataset {
    fn one(&self, draw: &Draw, given: Option<f64>, draws: &mut dyn Draws) -> Vec<f32> {
        let n = if draw.per_sample { self.samples } else { 1 };
        match (given, draw.distribution) {
            (Some(value), _) => vec![value as f32; n],
            (None, Distribution::Uniform(low, high)) => draws.uniform(low, high, n),
            (None, Distribution::Normal(mean, sd)) => draws.normal(mean, sd, n),
        }
    }
}

fn read_draws(table: &Table, found: &mut Diagnostics) -> Vec<Draw> {
    let Some(inner) = table.get("draws").and_then(Node::as_table) else { return Vec::new() };
    let mut draws = Vec::new();
    for Entry { key, key_span, node, .. } in &inner.entries {
        let taken = ["steps", "samples", "seed", "kind", "t"].contains(&key.as_str());
        limits::identifier(key, *key_span, taken.then_some("every dataset has this name"), found);
        let pair = |kind: &str| {
            let numbers: Vec<f64> = node.as_table()?.nodes(kind).iter().filter_map(Node::as_number).collect();
            <[f64; 2]>::try_from(numbers).ok()
        };
        let distribution = match (pair("uniform"), pair("normal")) {
            (Some([low, high]), None) if low <= high => Distribution::Uniform(low, high),
            (None, Some([mean, sd])) if sd >= 0.0 => Distribution::Normal(mean, sd),
            _ => {
                found.push(wrong_type(key, "a table with `uniform = [low, high]` or `normal = [mean, sd]`", node));
                continue;
            }
        };
        let per = node.as_table().and_then(|inner| inner.text("per")).unwrap_or("sample");
        if !["sample", "dataset"].contains(&per) {
            let problem = Problem::UnknownName { what: "per".into(), name: per.into() };
            found.push(Diagnostic::new(problem, node.span).help("known here: `sample`, `dataset`".to_string()));
        }
        draws.push(Draw { name: key.clone(), distribution, per_sample: per == "sample" });
    }
    draws
}

fn read_channels(
    table: &Table,
    key: &str,
    at: Span,
    known: &mut Vec<String>,
    sources: &Sources,
    found: &mut Diagnostics,
) -> Vec<(String, Expr)> {
    let Some(inner) = table.get(key).and_then(Node::as_table).filter(|inner| !inner.entries.is_empty()) else {
        let problem = Problem::MissingKey(key.into());
        found.push(Diagnostic::new(problem, at).label("a table of channels and their formulas"));
        return Vec::new();
    };
    let mut channels = Vec::new();
    for entry in &inner.entries {
        let taken = known.contains(&entry.key).then_some("a draw, another channel or the time has this name");
        limits::identifier(&entry.key, entry.key_span, taken, found);
        let Some(text) = entry.node.as_text() else {
            found.push(wrong_type(&entry.key, "a formula in quotes", &entry.node));
            continue;
        };
        let at = sources.place(entry.node.span, text);
        match parse(text) {
            Ok(expr) => {
                for name in expr.names() {
                    if !known.contains(&name.text) && constant(&name.text).is_none() {
                        let names = known.iter().map(String::as_str);
                        let help = found.suggest(&name.text, names, "");
                        let problem = Problem::UnknownName { what: "name".into(), name: name.text.clone() };
                        found.push(Diagnostic::new(problem, at.part(name.span.clone())).help(help));
                    }
                }
                known.push(entry.key.clone());
                channels.push((entry.key.clone(), expr));
            }
            Err(error) => found.push(formula_error(error, at)),
        }
    }
    channels
}
