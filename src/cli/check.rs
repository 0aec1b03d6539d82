//! `runner check`: everything that can be known without computing.

use super::run::{ExecutorArg, jobs};
use super::summary::aligned;
use super::{Exit, PluginArgs, load_registry, print, print_code, refuse, tell_broken, tell_notes};
use crate::registry::{Crate, Registry};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::source::Sources;
use crate::spec::{self, Overrides};
use crate::store::ranking::described;
use crate::study::rule::SeedRule;
use crate::study::{ConfigurationPlan, Plan};
use crate::tensor::DeviceName;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Options of `runner check`.
#[derive(Args)]
pub struct CheckArgs {
    /// Experiment files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set a key, for example optimizer.lr=1e-4
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Vary a key, for example optimizer.lr=1e-4,1e-3
    #[arg(long, value_name = "KEY=A,B,...")]
    sweep: Vec<String>,
    /// Seeds: 7, or 1,5,9, or the half-open 0..40
    #[arg(long)]
    seeds: Option<String>,
    /// Print the resolved study, or each trial, as TOML
    #[arg(long, value_name = "WHAT")]
    print: Option<Printed>,
    /// What would run the neurons, which is a part of a trial's identity
    #[arg(long, default_value = "fused")]
    executor: ExecutorArg,
    /// Trials side by side, all of which have to fit into memory [default: the processors there are]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    #[command(flatten)]
    plugins: PluginArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Printed {
    /// Defaults written out, formulas kept
    Study,
    /// Formulas computed, one seed each
    Trials,
}

/// Checks files and prints their networks.
pub fn check(args: &CheckArgs, crates: &[Crate]) -> Exit {
    let mut exit = Exit::Fine;
    for file in &args.files {
        let mut sources = Sources::default();
        let overrides = Overrides { set: args.set.clone(), sweep: args.sweep.clone(), seeds: args.seeds.clone() };
        let shown = load_registry(crates, &args.files, &args.plugins, &mut sources).and_then(|registry| {
            let spec = spec::read(file, &overrides, &registry, &mut sources)?;
            let plan = Plan::new(spec, &registry, &sources, args.executor.into(), DeviceName::Cpu)?;
            tell_broken(&registry, &sources);
            tell_notes(&plan);
            plan.fits(jobs(args.jobs))?;
            show(&plan, args.print, file, &registry)
        });
        if let Err(found) = shown {
            exit = refuse(&found, &sources);
        }
    }
    exit
}

fn show(plan: &Plan, what: Option<Printed>, file: &Path, registry: &Registry) -> Result<(), Diagnostics> {
    match what {
        None => print(&format!("{}: fine\n\n{}\n", file.display(), summary(plan))),
        Some(Printed::Study) => print_code(&format!("# study {}\n{}", plan.identity, plan.study_toml())),
        Some(Printed::Trials) => {
            for trial in &plan.trials {
                print_code(&format!("# trial {}\n{}\n", trial.id, plan.trial_toml(trial, registry)?));
            }
        }
    }
    Ok(())
}

/// The data and the network with shapes and parameter counts, and what is varied.
fn summary(plan: &Plan) -> String {
    let configuration = &plan.configurations.first;
    let (data, network) = (&configuration.data, &configuration.network);
    let (steps, batch) = (data.steps, configuration.spec.train.batch.min(data.samples));
    let mut text = format!(
        "data     {}: {} samples of {steps} steps, inputs {}, targets {}\n",
        configuration.spec.data.component.kind,
        data.samples,
        data.inputs.join(", "),
        data.targets.join(", "),
    );
    if let Some(split) = configuration.dataset.describe_split() {
        let parts = configuration.dataset.parts();
        let parts: Vec<String> = parts.iter().map(|(part, n)| format!("{} {n}", part.as_str())).collect();
        text += &format!("split    {split}: {}\n", parts.join(", "));
    }
    text += &format!("shapes   [time, batch, width] with time {steps} and batch {batch}\n\n");
    text += &format!("{:<14} {:<10} {:<20} {:<20} {:>10}  parameters\n", "layer", "kind", "input", "output", "numbers");
    for layer in &network.layers {
        let numbers: usize = layer.parameters.iter().map(|p| p.len()).sum();
        let names: Vec<String> = layer.parameters.iter().map(|p| format!("{} {:?}", p.name, p.shape)).collect();
        let shape = |width: usize| format!("[{steps}, {batch}, {width}]");
        text += &format!(
            "{:<14} {:<10} {:<20} {:<20} {numbers:>10}  {}\n",
            layer.name,
            layer.kind,
            shape(layer.inputs),
            format!("{} {}", shape(layer.size), layer.output),
            names.join(", "),
        );
    }
    let learned: usize = network.parameters().filter(|(_, p)| p.learn).map(|(_, p)| p.len()).sum();
    text += &format!("\n{} numbers in all, {learned} of them learned\n", network.size());
    if !plan.swept.is_empty() {
        text += &format!(
            "{} configurations of {}, each on {}; shown is the first, {}\n",
            plan.configurations.list.len(),
            plan.swept.join(", "),
            seeds(plan),
            described(&plan.configurations.list[0].params)
        );
        text += &sizes(plan);
    } else if !matches!(plan.rule, SeedRule::Fixed) {
        text += &format!("{}\n", seeds(plan));
    }
    let first = plan.trials.first().map_or(String::new(), |trial| format!(", the first is {}", trial.id));
    let most = if plan.sure_seeds() < plan.per_configuration() { "at most " } else { "" };
    let trials = plan.configurations.list.len() * plan.spec.seeds.len() + plan.fresh().len();
    text + &format!("{most}{trials} trials of {} iterations{first}\n", configuration.iterations)
}

/// Configurations that are listed; of more only the first are.
const LISTED: usize = 20;

/// The numbers of each configuration, where these differ: one of more parameters is no fair rival of one of few.
fn sizes(plan: &Plan) -> String {
    let list = &plan.configurations.list;
    if list.windows(2).all(|pair| pair[0].parameters == pair[1].parameters) {
        return String::new();
    }
    let values = |one: &ConfigurationPlan| one.params.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    let mut lines = vec![plan.swept.clone()];
    lines.extend(list.iter().take(LISTED).map(values));
    let counts = list.iter().map(|one| one.parameters.to_string());
    let column = std::iter::once("parameters".to_string()).chain(counts);
    lines.iter_mut().zip(column).for_each(|(line, cell)| line.push(cell));
    let more = list.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!("... and {more} more configurations\n") } else { String::new() };
    format!("\n{}{rest}\n", aligned(&lines))
}

/// On how many seeds a configuration is run.
fn seeds(plan: &Plan) -> String {
    let (least, most, fresh) = (plan.sure_seeds(), plan.spec.seeds.len(), plan.fresh().len());
    let again = if fresh > 0 { format!(", the best again on {fresh} fresh ones") } else { String::new() };
    match &plan.rule {
        SeedRule::Fixed => format!("{most} seed{}{again}", if most == 1 { "" } else { "s" }),
        SeedRule::Until(sampling, _) => {
            let half = 100.0 * sampling.precision.relative_half_width;
            format!("{least} to {most} seeds, until the mean of {} is known to +- {half} %{again}", sampling.metric)
        }
        SeedRule::Race(..) => {
            format!("{least} to {most} seeds, as long as it is not clearly worse than another{again}")
        }
    }
}
