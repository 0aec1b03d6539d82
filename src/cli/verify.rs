//! `runner verify`: trials once more, from the stored plan, held against what lies on disk now.

use super::progress::tell_other_bits;
use super::{AGAIN, Exit, complain, fail, print};
use crate::registry::{Crate, Registry};
use crate::spec::source::Sources;
use crate::store::agreement::{Agreement, Difference, Repeat, StoredResults};
use crate::store::environment::{ROUNDING, Tolerance};
use crate::store::lost::manifest_with;
use crate::store::{FILES, StoreError, SummaryRow, kept, missing, tables};
use crate::study::Plan;
use crate::study::job::{Finished, Keep};
use crate::study::replay::{self, ReplayError};
use crate::tensor::DeviceName;
use clap::Args;
use dfdx::prelude::Cpu;
use std::collections::HashSet;
use std::path::PathBuf;

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
    #[error("{} has no trial that ended: there is nothing to verify yet", .0.display())]
    Nothing(PathBuf),
    #[cfg(not(feature = "cuda"))]
    #[error("this program was built without CUDA, which the folder's trials ran on")]
    NoCuda,
}

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
                VerifyError::Replay(ReplayError::Program(_)) => "add `--allow-programs` if you trust it",
                VerifyError::Nothing(_) => {
                    "trials are there once their run has ended; the command that began it goes on"
                }
                VerifyError::Replay(ReplayError::OtherMeaning { .. }) => {
                    "what changed makes another trial; put it back as it was, or run the experiment anew"
                }
                _ => "`runner verify` takes a folder that `runner FILE` made",
            };
            fail(error, Some(help), Exit::Request)
        }
    }
}

fn verified(args: &VerifyArgs, crates: &[Crate]) -> Result<Exit, VerifyError> {
    let dir = &args.dir;
    let manifest = manifest_with(dir, &FILES)?;
    let mut sources = Sources::default();
    let registry = replay::registry(&manifest, crates, &mut sources)?;
    if args.allow_programs {
        // What a cache says is what the trials were trained on, and so confirms itself.
        registry.allow_programs(None);
    } else {
        replay::refuse_programs(&registry)?;
    }
    let rows = tables::summary(dir, &manifest)?;
    if rows.is_empty() && manifest.rows.get("trials.parquet").is_none_or(|written| *written == 0) {
        return Err(VerifyError::Nothing(dir.clone()));
    }
    let chosen = spread(&rows, if args.all { rows.len() } else { args.sample as usize });
    let stored = StoredResults::read(dir)?;
    let tolerance = Tolerance::of(&manifest);
    if let Tolerance::OtherBits(now) = &tolerance {
        tell_other_bits(&manifest.environment, now);
    }
    let mut missing = missing::rows(&stored, &rows, &manifest);
    let mut promised: Option<HashSet<&str>> = None;
    let mut counts = [0; 3];
    for row in &chosen {
        let plan = replay::plan(&manifest, row, &registry, &mut sources)?;
        let promised = promised.get_or_insert_with(|| {
            let rows = kept::promised(plan.spec.save, &rows, &manifest);
            rows.into_iter().map(|row| row.trial.as_str()).collect()
        });
        let trial = row.trial.as_str();
        let keep = Keep {
            traces: stored.has_traces(trial),
            layers: stored.has_layers(trial),
            weights: promised.contains(trial) || stored.has_weights(trial),
        };
        let (record, weights) = on_device(&plan, &registry, keep)?;
        let again = Repeat { record: &record, weights: weights.as_ref(), columns: &plan.columns() };
        let (place, text) = match stored.agrees(&again, tolerance.relative())? {
            Agreement::Identical { values, tensors } => {
                (0, format!("identical: {values} values of tables, {tensors} tensors"))
            }
            Agreement::Within(largest) => {
                (1, format!("within tolerance: the largest relative difference is {largest:.1e}, below {ROUNDING:.0e}"))
            }
            Agreement::Different(what) => (2, format!("different: {}", said(&what, &plan))),
        };
        counts[place] += 1;
        print(&format!("trial {} (seed {}): {text}\n", row.trial, row.seed));
    }
    for error in registry.stop_programs() {
        complain(&format!("warning: {error}\n"));
    }
    missing.extend(missing::weights(dir, &promised.unwrap_or_default()));
    missing.iter().for_each(|what| print(&format!("missing: {what}\n")));
    let [identical, within, different] = counts;
    let text = format!("{identical} identical, {within} within tolerance, {different} different");
    print(&format!("{} of {} trials run again: {text}\n", chosen.len(), rows.len()));
    Ok(if different > 0 || !missing.is_empty() { Exit::TrialFailed } else { Exit::Fine })
}

/// Some rows, evenly spread, the first and the last among them.
fn spread(rows: &[SummaryRow], count: usize) -> Vec<&SummaryRow> {
    let count = count.min(rows.len());
    let gaps = count.saturating_sub(1).max(1);
    (0..count).map(|i| &rows[i * (rows.len() - 1) / gaps]).collect()
}

/// Runs a trial again; its record, and its weights.
fn on_device(plan: &Plan, registry: &Registry, keep: Keep) -> Result<Finished, VerifyError> {
    match plan.device {
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => Ok(replay::run::<dfdx::prelude::Cuda>(plan, registry, keep)?),
        #[cfg(not(feature = "cuda"))]
        DeviceName::Cuda => Err(VerifyError::NoCuda),
        DeviceName::Cpu => Ok(replay::run::<Cpu>(plan, registry, keep)?),
    }
}

/// What differs, with the program that data came from, if they did.
fn said(difference: &Difference, plan: &Plan) -> String {
    match (difference, plan.configurations.first.dataset.dataset().program()) {
        (Difference::Data, Some(program)) => format!("{program} gave other data than this trial was trained on"),
        _ => difference.to_string(),
    }
}
