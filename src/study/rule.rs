//! How many seeds each configuration is run on: all, as many as it takes to know a mean, or as many as it survives.

use super::measured::Measured;

use crate::registry::Registry;
use crate::search::pruner::{Contest, Pruner};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use crate::spec::key::Placed;
use crate::spec::sweep::Sweep;
use crate::spec::{GeneratorName, Spec, Until};
use crate::statistics::Mean;
use crate::store::manifest::Sampling;
use crate::store::ranking::resampled;
use std::ops::Range;

/// What decides on how many of its seeds a configuration is run.
pub enum SeedRule {
    /// All of them.
    Fixed,
    /// Until a mean is known well enough.
    Until(Sampling, Deciding),
    /// Until it is clearly worse than another.
    Race(Box<dyn Pruner>, Contest),
}

/// One of a trial's results, which decides something of a study.
#[derive(Debug, Clone)]
pub struct Deciding {
    /// `loss`, or a metric.
    pub name: String,
    /// Its place among the metrics; none for the loss.
    pub metric: Option<usize>,
    /// The mean that says something of it.
    pub of: Mean,
    /// Whether more is better.
    pub maximize: bool,
}

impl Deciding {
    /// A loss, metric or metric of a part by its name.
    fn named(name: &str, quantities: &[Measured], registry: &Registry) -> Option<Deciding> {
        let metric = match name {
            "loss" => None,
            name => Some(quantities.iter().position(|quantity| quantity.name() == name)?),
        };
        let kind = metric.and_then(|metric| quantities[metric].metric.as_ref());
        let lower_is_better = kind.is_none_or(|kind| registry.metrics[kind].build.lower_is_better);
        Some(Deciding { name: name.into(), metric, of: Mean::of(lower_is_better), maximize: !lower_is_better })
    }

    /// What a sweep ranks configurations by: what it says, else the loss, of the part that validates if there is one.
    fn objective(sweep: Option<&Sweep>, quantities: &[Measured], registry: &Registry) -> Deciding {
        let validated = quantities.iter().any(|quantity| quantity.name() == "validation.loss");
        let loss = if validated { "validation.loss" } else { "loss" };
        let said = sweep.and_then(|sweep| sweep.objective.as_ref());
        let named = Deciding::named(said.map_or(loss, |objective| &objective.name), quantities, registry);
        let maximize = said.is_some_and(|objective| objective.maximize);
        let default = || Deciding { name: loss.into(), metric: None, of: Mean::Geometric, maximize };
        named.map_or_else(default, |named| Deciding { maximize, ..named })
    }

    /// What is said where it asks for what is worse.
    pub fn misdirected(&self) -> Option<String> {
        let (asked, better) = if self.maximize { ("maximize", "lower") } else { ("minimize", "higher") };
        let worse = self.maximize == (self.of == Mean::Geometric);
        worse.then(|| format!("`{asked} = \"{}\"` ranks the worst first: the {better} it is, the better", self.name))
    }

    /// Its value of a trial that completed.
    pub fn value(&self, loss: Option<f64>, metric: &dyn Fn(usize) -> Option<f64>) -> f64 {
        self.metric.map_or(loss, metric).unwrap_or(f64::NAN)
    }
}

/// The rule of a study, and what decides in it.
///
/// # Errors
/// Where the metric is not measured, seeds are too few to decide anything, or two rules are asked for.
pub fn rule(
    spec: &Spec,
    quantities: &[Measured],
    configurations: usize,
    registry: &Registry,
) -> Result<(SeedRule, Deciding), Diagnostics> {
    let refuse = |problem: Diagnostic| Err(Diagnostics { list: vec![problem] });
    let together = spec.sweep.iter().flat_map(|sweep| &sweep.dimensions).find_map(|one| resampled(&one.name));
    let objective = Deciding::objective(spec.sweep.as_ref(), quantities, registry);
    let pruner = spec.sweep.as_ref().and_then(|sweep| Some((sweep, sweep.pruner.as_ref()?)));
    if let (Some(called), Some(sweep)) =
        (together, spec.sweep.as_ref().filter(|sweep| sweep.fresh > 0 && pruner.is_none()))
    {
        let text = format!("{called} of one split belong together, so that none of them is the best to be run again");
        return refuse(Diagnostic::new(Problem::Conflict(text), sweep.fresh_at));
    }
    if let Some(sweep) = spec.sweep.as_ref().filter(|sweep| sweep.fresh > 0) {
        let most = if spec.random.generator == GeneratorName::Torch { u64::from(u32::MAX) } else { i64::MAX as u64 };
        let last = fresh_seeds(spec).end - 1;
        if last > most {
            let problem = Problem::Conflict(format!("{} fresh seeds would go up to {last}", sweep.fresh));
            return refuse(
                Diagnostic::new(problem, sweep.fresh_at).label(format!("there is no seed above {most} here")),
            );
        }
    }
    match (&spec.until, pruner, together) {
        (None, None, _) => Ok((SeedRule::Fixed, objective)),
        (Some(until), Some((_, pruner)), _) => {
            let text = "a pruner and `until` would both say on how many seeds a configuration is run".to_string();
            refuse(Diagnostic::new(Problem::Conflict(text), pruner.span).also(until.metric.at, "the other one"))
        }
        (Some(Until { metric: Placed { at, .. }, .. }), None, Some(called)) => {
            let text =
                format!("{called} are compared on the same seeds, so that `until` cannot stop each of them by itself");
            let help = format!("`count` gives all {called} the same seeds");
            refuse(Diagnostic::new(Problem::Conflict(text), *at).help(help))
        }
        (None, Some((_, pruner)), Some(called)) => {
            let text = format!("{called} of one split are not rivals of each other, so that they cannot race");
            refuse(Diagnostic::new(Problem::Conflict(text), pruner.span))
        }
        (Some(until), None, None) => {
            let Placed { value: name, at, .. } = &until.metric;
            let Some(sampled) = Deciding::named(name, quantities, registry) else {
                let names: Vec<String> = quantities.iter().map(Measured::name).collect();
                let help = suggest(name, names.iter().map(String::as_str), "`[train] metrics` names what is measured");
                let problem = Problem::UnknownName { what: "metric".into(), name: name.clone() };
                return refuse(Diagnostic::new(problem, *at).label("not the loss, nor a metric here").help(help));
            };
            let sampling = Sampling { metric: name.clone(), precision: until.precision.clone(), from: until.from };
            Ok((SeedRule::Until(sampling, sampled), objective))
        }
        (None, Some((_, component)), None) if configurations < 2 => {
            let problem = Problem::Conflict("a race takes two configurations or more, and there is one".into());
            refuse(Diagnostic::new(problem, component.span))
        }
        (None, Some((sweep, component)), None) => {
            let pruner = registry.pruner(component);
            let contest = |looks| Contest { looks, configurations, of: objective.of, maximize: objective.maximize };
            match pruner.looks(spec.seeds.len(), configurations) {
                Ok(looks) => Ok((SeedRule::Race(pruner, contest(looks)), objective)),
                Err(why) => {
                    let text = format!("{} are too few seeds to drop anything", spec.seeds.len());
                    let at =
                        spec.resolved.get("run").and_then(|run| run.as_table()?.get("seeds")).map(|node| node.span);
                    let at = at.filter(|at| at.end > at.start).unwrap_or(sweep.span);
                    refuse(Diagnostic::new(Problem::Conflict(text), at).label(why).also(component.span, "the pruner"))
                }
            }
        }
    }
}

/// On how many seeds the best configuration is run again.
pub fn fresh(spec: &Spec) -> usize {
    spec.sweep.as_ref().map_or(0, |sweep| sweep.fresh)
}

/// These seeds, which follow the largest of the others.
pub fn fresh_seeds(spec: &Spec) -> Range<u64> {
    let first = spec.seeds.iter().max().map_or(0, |last| last.saturating_add(1));
    first..first.saturating_add(fresh(spec) as u64)
}
