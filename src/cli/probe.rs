//! `runner probe`: a neuron's answers to an impulse and a step, and its firing rate over the current.

use super::{Exit, PluginArgs, fail, load_registry, out_of_order, print, refuse, tell_broken};
use crate::nn::probe::Probe;
use crate::registry::{Crate, Registry};
use crate::report::{ReportError, neuron};
use crate::spec::Component;
use crate::spec::check::{Checker, unknown_component};
use crate::spec::component::{Components, Kind};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::merge;
use crate::spec::source::{Sources, Span};
use crate::spec::tree::{Node, Table, Value};
use clap::Args;
use std::path::PathBuf;

/// Options of `runner probe`.
#[derive(Args)]
pub struct ProbeArgs {
    /// The neuron's name
    neuron: String,
    /// The folder of the pictures
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Set a key of the neuron, for example beta=0.8
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Height of the step of current
    #[arg(long, default_value_t = 0.3, allow_negative_numbers = true, value_parser = finite)]
    current: f32,
    /// Steps of impulse and step response
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    steps: u32,
    #[command(flatten)]
    plugins: PluginArgs,
}

/// A number that is one.
fn finite(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "not a number".to_string())?;
    if number.is_finite() { Ok(number) } else { Err("not a finite number".into()) }
}

/// Constant currents whose firing rates are measured, from 0 to 2, and the steps of each.
const CURRENTS: u32 = 81;
const RATE_STEPS: usize = 1000;

/// Draws the pictures of a neuron.
pub fn probe(args: &ProbeArgs, crates: &[Crate]) -> Exit {
    let mut sources = Sources::default();
    let registry = match load_registry(crates, &[], &args.plugins, &mut sources) {
        Ok(registry) => registry,
        Err(found) => return refuse(&found, &sources),
    };
    let layer = match layer(args, &registry, &mut sources) {
        Ok(layer) => layer,
        Err(found) => return refuse(&found, &sources),
    };
    tell_broken(&registry, &sources);
    let Some(probe) = Probe::new(registry.layer(&layer).as_ref()) else {
        return fail(format!("`{}` has no fused form to be run on its own", args.neuron), None, Exit::Request);
    };
    match draw(args, &probe) {
        Ok(()) => Exit::Fine,
        Err(ReportError::Store(error)) if let Some(exit) = out_of_order(&error) => exit,
        Err(error) => fail(error, Some("`--out DIR` names a folder that can be written"), Exit::Request),
    }
}

/// A layer of one neuron.
fn layer(args: &ProbeArgs, registry: &Registry, sources: &mut Sources) -> Result<Component, Diagnostics> {
    let source = sources.add("runner probe", args.neuron.clone());
    let at = Span { source, start: 0, end: args.neuron.len() };
    let mut found = Diagnostics::default();
    if registry.info(Kind::Neuron, &args.neuron).is_none() {
        unknown_component(registry, Kind::Neuron, &args.neuron, at, &mut found);
        return Err(found);
    }
    let mut table = Table::default();
    table.put("kind", Node::new(Value::Text(args.neuron.clone()), at));
    table.put("name", Node::new(Value::Text("probe".into()), at));
    for option in &args.set {
        table = merge::set(table, option, sources, &mut found);
    }
    let node = Node::new(Value::Table(table), at);
    let checked = Checker::new(registry, &mut found).component(&node, "layer", Kind::Layer, &[]);
    match checked.as_ref().and_then(Component::of_node) {
        Some(component) if found.is_empty() => Ok(component),
        _ => Err(found),
    }
}

fn draw(args: &ProbeArgs, probe: &Probe) -> Result<(), ReportError> {
    let steps = args.steps as usize;
    let before = (steps / 10).max(1);
    let impulse: Vec<f32> = (0..steps).map(|t| if t == before { 1.0 } else { 0.0 }).collect();
    let step: Vec<f32> = (0..steps).map(|t| if t < before { 0.0 } else { args.current }).collect();
    let mut files = vec![
        neuron::response(&args.out, "impulse", &impulse, &probe.respond(&impulse))?,
        neuron::response(&args.out, "step", &step, &probe.respond(&step))?,
    ];
    if probe.spikes() {
        let currents: Vec<f32> = (0..CURRENTS).map(|i| 2.0 * i as f32 / (CURRENTS - 1) as f32).collect();
        let rates = probe.rates(&currents, RATE_STEPS);
        files.push(neuron::rates(&args.out, &currents, &rates)?);
        print(&rate_words(&currents, &rates));
    } else {
        print(&format!("`{}` does not spike, so it has no firing rate\n", args.neuron));
    }
    files.iter().for_each(|file| print(&format!("{}\n", file.display())));
    Ok(())
}

/// The smallest current that fires, and the fastest rate.
fn rate_words(currents: &[f32], rates: &[f32]) -> String {
    let first = currents.iter().zip(rates).find(|(_, rate)| **rate > 0.0);
    let fastest = rates.iter().copied().fold(0.0, f32::max);
    match first {
        Some((current, _)) => {
            format!("fires from a constant current of {current:.3} on, at most {fastest:.3} spikes a step up to 2\n")
        }
        None => "fires at no constant current from 0 to 2\n".into(),
    }
}
