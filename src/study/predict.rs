//! The kept weights of a trial, applied to rows of another file.

use super::compiled::Compiled;
use super::configuration::Configuration;
use super::runs::Executor;
use super::weights::WeightsFile;
use crate::data::DataError;
use crate::data::scale::Scale;
use crate::random::Stream;
use crate::registry::{OnDevice, Registry};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::source::{Sources, Span, text_of};
use crate::spec::tree::Node;
use crate::spec::{self, Spec, print};
use crate::store::manifest::Manifest;
use crate::store::{SCALE, SummaryRow, weights_file};
use crate::train::TrialError;
use std::path::Path;

/// What was predicted.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Names of the targets.
    pub targets: Vec<String>,
    /// The row of the file, from 1, that is predicted, and each target in its own unit.
    pub rows: Vec<(usize, Vec<f64>)>,
}

/// Why nothing was predicted.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The request is wrong.
    #[error("the request is wrong")]
    Request(Diagnostics),
    /// The network could not be run.
    #[error(transparent)]
    Trial(#[from] TrialError),
}

impl From<Diagnostics> for PredictError {
    fn from(found: Diagnostics) -> Self {
        PredictError::Request(found)
    }
}

/// Applies the weights of a trial to the rows of a file.
///
/// # Errors
/// Where the file lacks what the trial's dataset reads, the weights are not there, or the network fails.
pub fn predict<D: OnDevice>(
    dir: &Path,
    manifest: &Manifest,
    trial: &SummaryRow,
    data: &str,
    registry: &Registry,
    sources: &mut Sources,
) -> Result<Predictions, PredictError> {
    let at = sources.add("--data", data);
    let at = Span { source: at, start: 0, end: data.len() };
    let mut spec = configuration(dir, manifest, trial, registry, sources)?;
    spec.data.predict(data, at);
    (spec.train.early_stop, spec.optimizer.schedule, spec.init_weights) = (None, None, None);
    let kind = spec.data.component.kind.clone();
    let plan = Configuration::alone(spec, registry, sources, Executor::Fused)?;
    let dataset = plan.dataset.dataset();
    let predicted = dataset.predicted();
    if predicted.is_empty() {
        let problem = Problem::Data(format!("dataset `{kind}` has no rows, so there is nothing to predict"));
        return Err(one(Diagnostic::new(problem, at)));
    }
    let stored = WeightsFile::read(&dir.join(weights_file(&trial.trial)), None)?.of(&plan.network, None)?;
    let scale: Scale =
        stored.metadata.get(SCALE).and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| {
            let text = format!("the weights of trial {} do not say in which units they were fitted", trial.trial);
            one(Diagnostic::without_place(Problem::Data(text)))
        })?;
    let drawn = dataset.draw_in(&scale, &mut Stream::new(trial.seed, "data"));
    let drawn = drawn.map_err(|DataError(error)| {
        TrialError::from(DataError(format!("the weights of trial {} do not fit: {error}", trial.trial)))
    })?;
    let mut machine =
        Compiled::new(&plan, None).machine::<D>(&plan, registry, &stored.values).map_err(TrialError::from)?;
    let signal = plan.network.output();
    machine.forward(&drawn, &|path| path == signal, false).map_err(TrialError::from)?;
    let seen = machine.signal(&signal).map_or(Vec::new(), |(_, values)| values.into_owned());
    let mut output = Vec::new();
    drawn.in_own_units(&seen, &mut output);
    let channels = plan.data.targets.len();
    let row = |(place, row): (usize, usize)| (row + 1, output[place * channels..(place + 1) * channels].to_vec());
    Ok(Predictions { targets: plan.data.targets.clone(), rows: predicted.into_iter().map(row).collect() })
}

/// The checked experiment of a trial, with its own values of what was swept.
fn configuration(
    dir: &Path,
    manifest: &Manifest,
    trial: &SummaryRow,
    registry: &Registry,
    sources: &mut Sources,
) -> Result<Spec, Diagnostics> {
    let file = text_of(&dir.join("manifest.json"));
    let spec = spec::read_text(&file, &manifest.spec, manifest.laying, registry, sources)?;
    let Some(sweep) = &spec.sweep else { return Ok(spec) };
    let points = registry.sampler(&sweep.sampler).points(sweep).map_err(|one| Diagnostics { list: vec![one] })?;
    let own = |point: &Vec<Node>| {
        let values = point.iter().map(print::value_toml);
        // Tables hold texts without quotes.
        values.zip(&trial.params).all(|(value, (_, stored))| same_value(&value, stored))
    };
    match points.iter().find(|point| own(point)) {
        Some(point) => sweep.configuration(point, registry, sources),
        None => {
            let text = format!("trial {} is of a sweep that the folder no longer describes", trial.trial);
            Err(Diagnostics { list: vec![Diagnostic::without_place(Problem::Data(text))] })
        }
    }
}

/// Whether a value of a sweep is that of a table. Numbers are compared as numbers: a list of `0, 0.1` is a column in which
/// the first reads `0.0`, and folders of earlier versions have steps that were not rounded.
fn same_value(value: &str, stored: &str) -> bool {
    match (value.parse::<f64>(), stored.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
        // Tables hold texts without quotes.
        _ => value.trim_matches('"') == stored.trim_matches('"'),
    }
}

fn one(diagnostic: Diagnostic) -> PredictError {
    PredictError::Request(Diagnostics { list: vec![diagnostic] })
}
