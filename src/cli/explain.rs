//! `runner explain`: what a stored trial's id is made of, and which of it an experiment file says otherwise.

use super::run::ExecutorArg;
use super::{Exit, PluginArgs, fail, load_registry, print, refuse, refuse_unreadable, tell_broken};
use crate::registry::Crate;
use crate::spec::source::Sources;
use crate::spec::{self, Overrides};
use crate::store::lost::manifest_with;
use crate::store::manifest::{IdentityParts, Manifest};
use crate::store::{StoreError, SummaryRow, tables};
use crate::study::explain::{changes, inputs, nearest};
use crate::study::replay::{self, ReplayError};
use crate::study::{Plan, identity};
use crate::tensor::DeviceName;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Options of `runner explain`.
#[derive(Args)]
pub struct ExplainArgs {
    /// A result folder
    dir: PathBuf,
    /// A trial of it, or how its id begins
    trial: String,
    /// An experiment file: which input of the trial's id does it change?
    file: Option<PathBuf>,
    /// Set a key of the file, for example optimizer.lr=1e-4
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What would run the neurons
    #[arg(long, default_value = "fused")]
    executor: ExecutorArg,
    #[command(flatten)]
    plugins: PluginArgs,
}

/// Explains a trial's id.
pub fn explain(args: &ExplainArgs, crates: &[Crate]) -> Exit {
    let (manifest, row) = match stored(args) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let old = match old_inputs(&manifest, &row, crates) {
        Ok(old) => old,
        Err(error) => return fail(error, None, Exit::Request),
    };
    match &args.file {
        None => {
            print(&format!("trial {} is made of\n", row.trial));
            old.iter().for_each(|(name, value)| print(&format!("  {name} = {value}\n")));
            Exit::Fine
        }
        Some(file) => against(args, file, &row, &old, crates),
    }
}

/// The manifest, and the row whose id begins as asked.
fn stored(args: &ExplainArgs) -> Result<(Manifest, SummaryRow), Exit> {
    let refused = |text: String, help: &str| fail(text, Some(help), Exit::Request);
    let wrong = |error: StoreError| refuse_unreadable(&error, "explain` takes a folder");
    let manifest = manifest_with(&args.dir, &["trials.parquet"]).map_err(wrong)?;
    let rows = tables::summary(&args.dir, &manifest).map_err(wrong)?;
    let mut found: Vec<SummaryRow> = rows.into_iter().filter(|row| row.trial.starts_with(&args.trial)).collect();
    match found.len() {
        1 => Ok((manifest, found.remove(0))),
        0 => {
            let text = format!("{} has no trial `{}`", args.dir.display(), args.trial);
            Err(refused(text, "the column `trial` of trials.parquet has their ids"))
        }
        n => Err(refused(format!("`{}` begins the ids of {n} trials", args.trial), "more letters tell them apart")),
    }
}

/// The inputs of a stored trial, as they were.
fn old_inputs(
    manifest: &Manifest,
    row: &SummaryRow,
    crates: &[Crate],
) -> Result<BTreeMap<String, String>, ReplayError> {
    let mut sources = Sources::default();
    let registry = replay::registry(manifest, crates, &mut sources)?;
    let plan = replay::like(manifest, row, &registry, &mut sources)?;
    let place = nearest(&plan, &row.trial, row.seed, &row.params).unwrap_or(0);
    Ok(inputs(&plan, place, &manifest.parts, &registry)?)
}

/// Prints what a file says otherwise.
fn against(
    args: &ExplainArgs,
    file: &PathBuf,
    row: &SummaryRow,
    old: &BTreeMap<String, String>,
    crates: &[Crate],
) -> Exit {
    let mut sources = Sources::default();
    let overrides = Overrides { set: args.set.clone(), ..Overrides::default() };
    let planned = load_registry(crates, std::slice::from_ref(file), &args.plugins, &mut sources).and_then(|registry| {
        let spec = spec::read(file, &overrides, &registry, &mut sources)?;
        tell_broken(&registry, &sources);
        let plan = Plan::new(spec, &registry, &sources, args.executor.into(), DeviceName::Cpu)?;
        Ok((registry, plan))
    });
    let (registry, plan) = match planned {
        Ok(planned) => planned,
        Err(found) => return refuse(&found, &sources),
    };
    if plan.trials.iter().any(|trial| trial.id == row.trial) {
        print(&format!("{} means trial {} too: nothing changed\n", file.display(), row.trial));
        return Exit::Fine;
    }
    let Some(place) = nearest(&plan, &row.trial, row.seed, &row.params) else {
        return fail("the file means no trial", None, Exit::Request);
    };
    let parts = IdentityParts {
        executor: plan.executor.as_str().into(),
        device: plan.device.as_str().into(),
        content: plan.content.clone(),
        components: identity::meanings(&identity::used(&plan.spec, &registry)),
    };
    let new = match inputs(&plan, place, &parts, &registry) {
        Ok(new) => new,
        Err(found) => return refuse(&found, &sources),
    };
    print(&format!(
        "trial {} and trial {} of {}, which comes nearest, differ in\n",
        row.trial,
        plan.trials[place].id,
        file.display()
    ));
    changes(old, &new).iter().for_each(|change| print(&format!("  {change}\n")));
    Exit::Fine
}
