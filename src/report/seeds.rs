//! What is said of the seeds that configurations were run on, where results decided how many these are.

use super::words::figure;
use crate::statistics::precision::{Known, looks, relative_half_width};
use crate::statistics::{Interval, LEVEL, Mean, Summary, summarise};
use crate::store::manifest::{Manifest, RaceResult, Sampling};
use crate::store::ranking::{Ranked, described};

/// Title of the column that says how a configuration ended; none where all have the same seeds.
pub fn column(manifest: &Manifest) -> Option<String> {
    let raced = manifest.race.as_ref().filter(|race| !race.looks.is_empty());
    match (&manifest.sampling, raced) {
        (Some(sampling), _) => Some(format!("mean {} as known", sampling.metric)),
        (None, Some(_)) => Some("race".into()),
        (None, None) => None,
    }
}

/// How a configuration ended.
pub fn ended(ranked: &Ranked, manifest: &Manifest) -> String {
    match (&ranked.known, ranked.dropped) {
        (Some(known), _) => known_as(known),
        (None, Some((seeds, p))) => format!("dropped after {seeds} seeds, p = {}", figure(p)),
        (None, None) => match manifest.race.as_ref().and_then(|race| race.winner.as_ref()) {
            Some(winner) if ranked.configs.contains(winner) => "won".into(),
            Some(_) => "stayed".into(),
            None => "still in".into(),
        },
    }
}

/// What is said below a table: the rules by which seeds were run, and what came of them.
pub fn notes(manifest: &Manifest, ranked: &[Ranked]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(sampling) = &manifest.sampling {
        notes.push(until(sampling, manifest));
        if let [only] = ranked {
            notes.push(format!("It is {}.", only.known.as_ref().map_or(String::new(), known_as)));
        }
    }
    if let Some(race) = &manifest.race {
        notes.extend(raced(race, ranked));
        notes.extend(fresh(race, manifest, ranked));
    }
    notes
}

fn known_as(known: &Known) -> String {
    let of = |n: &usize, interval: &Interval| {
        let Interval { mean, low, high } = interval;
        let half = 100.0 * relative_half_width(interval);
        format!("{} [{}, {}] from {n} seeds, +- {half:.1} %", figure(*mean), figure(*low), figure(*high))
    };
    match known {
        Known::Wants(n) => format!("not known yet: {n} seeds are needed"),
        Known::Enough(n, interval) => of(n, interval),
        Known::NotEnough(n, Some(interval)) => format!("{}, less precise than asked for", of(n, interval)),
        Known::NotEnough(n, None) => format!("not known: too few of {n} trials completed"),
    }
}

fn until(sampling: &Sampling, manifest: &Manifest) -> String {
    let Sampling { metric, precision, .. } = sampling;
    let quantity = manifest.metrics.iter().find(|quantity| quantity.name == *metric);
    let mean = quantity.map_or(Mean::Geometric, |quantity| quantity.mean()).word();
    format!(
        "Seeds were run until the {mean} of {metric} was known to +- {} %. Looks were planned after {} seeds; the interval \
         of each has the level {:.2} %, so that all looks at a configuration together miss it in at most {} % of cases \
         (Bonferroni). Other intervals here are plain ones, which seeds that end when results say so make too narrow.",
        100.0 * precision.relative_half_width,
        listed(&looks(precision.min, precision.max)),
        100.0 * (1.0 - precision.level()),
        100.0 * LEVEL
    )
}

fn raced(race: &RaceResult, ranked: &[Ranked]) -> Option<String> {
    (!race.looks.is_empty()).then(|| {
        format!(
            "Of {} configurations {} were dropped in a race, with looks planned after {} seeds: {}.{}",
            ranked.len(),
            race.dropped.len(),
            listed(&race.looks),
            race.rule,
            if race.winner.is_none() { " It has no winner yet." } else { "" }
        )
    })
}

/// What the winner has on the seeds that chose it, and on others.
fn fresh(race: &RaceResult, manifest: &Manifest, ranked: &[Ranked]) -> Option<String> {
    let winner = race.winner.as_ref()?;
    let winner = ranked.iter().find(|one| one.configs.contains(winner))?;
    let of = manifest.objective_mean();
    let chosen = summarise(winner.by_seed.values().copied(), of)?;
    let Some(fresh) = summarise(winner.fresh.iter().copied(), of) else {
        let n = race.fresh.len();
        return Some(format!("None of the {n} fresh trials of the best, {}, completed.", described(&winner.params)));
    };
    let interval = |summary: &Summary| match summary.interval {
        Some((low, high)) => format!("95 % interval: {} to {}", figure(low), figure(high)),
        None => format!("from {} to {}", figure(summary.range.0), figure(summary.range.1)),
    };
    let failed = race.fresh.len().saturating_sub(fresh.n);
    let failed = if failed > 0 { format!("; {failed} more failed") } else { String::new() };
    Some(format!(
        "The best, {}, has a {} of {} of {} on the {} seeds that chose it and of {} ({}) on {} fresh ones{failed}.",
        described(&winner.params),
        of.word(),
        manifest.objective.name,
        figure(chosen.mean),
        chosen.n,
        figure(fresh.mean),
        interval(&fresh),
        fresh.n
    ))
}

fn listed(numbers: &[usize]) -> String {
    let texts: Vec<String> = numbers.iter().map(usize::to_string).collect();
    match texts.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => texts.join(""),
    }
}
