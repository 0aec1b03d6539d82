//! `runner verify`: trials once more, from the stored plan, held against what lies on disk now.

use super::{AGAIN, Exit, complain, fail, print};
use crate::registry::{Crate, OnDevice, Registry};
use crate::spec::source::Sources;
use crate::store::environment::environment;
use crate::store::lost::manifest_with;
use crate::store::manifest::Manifest;
use crate::store::record::Record;
use crate::store::tables::{self, Losses};
use crate::store::{self, StoreError, SummaryRow, Weights};
use crate::study::replay::{self, ReplayError};
use clap::Args;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Options of `runner verify`.
#[derive(Args)]
pub struct VerifyArgs {
    /// A result folder
    dir: PathBuf,
    /// So many trials, spread evenly over the table
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "all", value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Every trial
    #[arg(long)]
    all: bool,
    /// Start the programs that the trials' dataset or metrics come from
    #[arg(long)]
    allow_programs: bool,
}

/// Why a folder cannot be verified.
#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[cfg(not(feature = "cuda"))]
    #[error("this program was built without CUDA, which the folder's trials ran on")]
    NoCuda,
}

/// How a trial compares with what is stored of it.
enum Verdict {
    /// Every bit is the same.
    Identical { losses: usize, tensors: usize },
    /// Numbers differ by rounding.
    Within { largest: f64 },
    /// Numbers differ: what, and where first.
    Different(String),
}

/// Relative difference that another binary or processor may make by rounding.
pub(super) const TOLERANCE: f64 = 1e-4;

/// Re-executes trials of a folder.
pub fn verify(args: &VerifyArgs, crates: &[Crate]) -> Exit {
    match verified(args, crates) {
        Ok(exit) => exit,
        Err(error) => {
            let help = match error {
                VerifyError::Replay(ReplayError::Data(_)) => {
                    "a file is looked for where it lay when the trials ran, and must be what it was"
                }
                VerifyError::Store(StoreError::Lost { .. }) => return fail(error, None, Exit::Request),
                VerifyError::Store(StoreError::Table { .. }) => AGAIN,
                _ => "`runner verify` takes a folder that `runner FILE` made",
            };
            fail(error, Some(help), Exit::Request)
        }
    }
}

fn verified(args: &VerifyArgs, crates: &[Crate]) -> Result<Exit, VerifyError> {
    let dir = &args.dir;
    let manifest = manifest_with(dir, &["trials.parquet", "history.parquet"])?;
    let mut sources = Sources::default();
    let registry = replay::registry(&manifest, crates, &mut sources)?;
    if args.allow_programs {
        registry.allow_programs();
    }
    let rows = tables::summary(dir, &manifest)?;
    let chosen = spread(&rows, if args.all { rows.len() } else { args.sample as usize });
    let ids: Vec<&str> = chosen.iter().map(|row| row.trial.as_str()).collect();
    let stored = tables::losses(dir, &ids)?;
    let tolerance = tolerance(&manifest);
    let mut counts = [0; 3];
    for row in &chosen {
        let again = once(&manifest, row, &registry, &mut sources)?;
        let losses = stored.get(&row.trial).map_or(&[][..], Vec::as_slice);
        let verdict = compare(dir, row, losses, &again, tolerance)?;
        let (place, text) = match verdict {
            Verdict::Identical { losses, tensors } => (0, format!("identical: {losses} losses, {tensors} tensors")),
            Verdict::Within { largest } => (
                1,
                format!("within tolerance: the largest relative difference is {largest:.1e}, below {TOLERANCE:.0e}"),
            ),
            Verdict::Different(what) => (2, format!("different: {what}")),
        };
        counts[place] += 1;
        print(&format!("trial {} (seed {}): {text}\n", row.trial, row.seed));
    }
    let [identical, within, different] = counts;
    let text = format!("{identical} identical, {within} within tolerance, {different} different");
    print(&format!("{} of {} trials run again: {text}\n", chosen.len(), rows.len()));
    Ok(if different > 0 { Exit::TrialFailed } else { Exit::Fine })
}

/// Some rows, evenly spread, the first and the last among them.
fn spread(rows: &[SummaryRow], count: usize) -> Vec<&SummaryRow> {
    let count = count.min(rows.len());
    let gaps = count.saturating_sub(1).max(1);
    (0..count).map(|i| &rows[i * (rows.len() - 1) / gaps]).collect()
}

/// No tolerance where bits are promised: for one binary and one set of instructions.
pub(super) fn tolerance(manifest: &Manifest) -> f64 {
    let then = &manifest.environment;
    let now = environment(Path::new("."), manifest.device(), manifest.executor());
    if (&then.binary, &then.instructions) == (&now.binary, &now.instructions) {
        return 0.0;
    }
    complain(&format!(
        "note: the results are of binary {} with {}, this is {} with {}; bits are promised for the same ones only\n",
        then.binary, then.instructions, now.binary, now.instructions
    ));
    TOLERANCE
}

fn once(
    manifest: &Manifest,
    row: &SummaryRow,
    registry: &Registry,
    sources: &mut Sources,
) -> Result<(Record, Option<Weights>), VerifyError> {
    fn on<D: OnDevice>(
        manifest: &Manifest,
        row: &SummaryRow,
        registry: &Registry,
        sources: &mut Sources,
    ) -> Result<(Record, Option<Weights>), VerifyError> {
        Ok(replay::run::<D>(&replay::plan(manifest, row, registry, sources)?, registry)?)
    }
    match manifest.device() {
        #[cfg(feature = "cuda")]
        "cuda" => on::<dfdx::prelude::Cuda>(manifest, row, registry, sources),
        #[cfg(not(feature = "cuda"))]
        "cuda" => Err(VerifyError::NoCuda),
        _ => on::<dfdx::prelude::Cpu>(manifest, row, registry, sources),
    }
}

/// Holds a trial against its rows and its weights.
fn compare(
    dir: &Path,
    row: &SummaryRow,
    stored: &Losses,
    (record, weights): &(Record, Option<Weights>),
    tolerance: f64,
) -> Result<Verdict, VerifyError> {
    if row.error != record.error {
        let said = |error: &Option<String>| error.as_ref().map_or("completed".into(), |e| format!("failed ({e})"));
        let text = format!("it {} in trials.parquet, and {} now", said(&row.error), said(&record.error));
        return Ok(Verdict::Different(text));
    }
    let width = record.history_values.len() / record.history.len().max(1);
    let now: Vec<(u64, f64)> =
        record.history.iter().zip(record.history_values.chunks(width.max(1))).map(|(i, v)| (*i as u64, v[0])).collect();
    let mut largest = 0.0_f64;
    for (old, new) in stored.iter().zip(&now) {
        let difference = if old.0 == new.0 { relative(old.1, new.1) } else { f64::INFINITY };
        if difference > tolerance {
            let text =
                format!("the loss of iteration {} is {:?} in history.parquet, and {:?} now", old.0, old.1, new.1);
            return Ok(Verdict::Different(text));
        }
        largest = largest.max(difference);
    }
    if stored.len() != now.len() {
        let text = format!("history.parquet has {} losses of it, and now there are {}", stored.len(), now.len());
        return Ok(Verdict::Different(text));
    }
    let last = [row.loss].into_iter().chain(row.metrics.iter().copied());
    let last_now = record.loss.first().into_iter().chain(&record.metrics);
    for (old, new) in last.zip(last_now) {
        let difference = old.map_or(f64::INFINITY, |old| relative(old, *new));
        if difference > tolerance {
            return Ok(Verdict::Different(format!("trials.parquet has {old:?} where there is {new:?} now")));
        }
        largest = largest.max(difference);
    }
    let mut tensors = 0;
    if let Some(weights) = weights {
        let file = dir.join(store::weights_file(&row.trial));
        let Some(old) = store::read_weights(&file)? else {
            return Ok(Verdict::Different(format!("{} is missing", file.display())));
        };
        match weights_differ(&old, weights, tolerance) {
            Ok(difference) => largest = largest.max(difference),
            Err(text) => return Ok(Verdict::Different(text)),
        }
        tensors = old.len();
    }
    Ok(if largest > 0.0 { Verdict::Within { largest } } else { Verdict::Identical { losses: now.len(), tensors } })
}

/// The largest difference of weights, relative to the largest number of their tensor.
fn weights_differ(old: &HashMap<String, Vec<f32>>, new: &Weights, tolerance: f64) -> Result<f64, String> {
    let mut largest = 0.0_f64;
    for (name, _, values) in &new.parameters {
        let Some(held) = old.get(name).filter(|held| held.len() == values.len()) else {
            return Err(format!("the weights have no `{name}` of {} numbers", values.len()));
        };
        let scale = held.iter().chain(values).fold(f64::MIN_POSITIVE, |scale, v| scale.max(f64::from(v.abs())));
        let same = |(a, b): &(&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        // What is not finite is near to nothing but itself.
        let apart = |(a, b): (&f32, &f32)| match (f64::from(*a) - f64::from(*b)).abs() / scale {
            apart if apart.is_finite() => apart.max(f64::MIN_POSITIVE),
            _ => f64::INFINITY,
        };
        let difference = held.iter().zip(values).filter(|pair| !same(pair)).map(apart).fold(0.0, f64::max);
        if difference > tolerance {
            return Err(format!("`{name}` of the weights differs by {difference:.1e} of its largest number"));
        }
        largest = largest.max(difference);
    }
    Ok(largest)
}

/// How far two numbers are apart: 0 exactly where their bits are the same, or both are NaN.
pub(super) fn relative(a: f64, b: f64) -> f64 {
    if a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() {
        return 0.0;
    }
    let difference = (a - b).abs() / a.abs().max(b.abs());
    if difference.is_nan() { f64::INFINITY } else { difference.max(f64::MIN_POSITIVE) }
}
