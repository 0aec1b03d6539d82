//! The configurations of a study in two tables: what each has, and how it stands against the first, seed by seed.

use super::contrast::{Contrast, advice, against};
use super::words::{LISTED, figure};
use super::{Report, seeds};
use crate::statistics::pairs::shown;
use crate::statistics::{FEWEST, Mean, summarise};
use crate::store::manifest::Manifest;
use crate::store::ranking::{self, Ranked, described, resampled};
use serde::Serialize;

/// A table of texts; without columns there is none.
#[derive(Debug, Default, Serialize)]
pub struct PageTable {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// What each configuration has over its seeds.
pub fn table(manifest: &Manifest, study: &Report) -> PageTable {
    let objective = &manifest.objective.name;
    let mut columns = dimensions(study);
    let sizes = ranking::sizes(&study.ranked);
    columns.extend(sizes.map(String::from));
    let mean = manifest.objective_mean().word();
    columns.extend(["completed".into(), format!("{mean} {objective}"), "sd".into(), "95 % interval".into()]);
    columns.push(format!("median loss ({})", manifest.loss.name));
    columns.extend(manifest.metrics.iter().map(|metric| format!("median {}", metric.name)));
    PageTable {
        columns,
        rows: study.ranked.iter().take(LISTED).map(|ranked| row(manifest, ranked, sizes.is_some())).collect(),
    }
}

/// Headings of the values that tell configurations apart.
fn dimensions(study: &Report) -> Vec<String> {
    study.ranked.first().map_or(&[][..], |first| &first.params).iter().map(|(name, _)| name.clone()).collect()
}

fn values(ranked: &Ranked) -> Vec<String> {
    ranked.params.iter().map(|(_, value)| value.clone()).collect()
}

fn row(manifest: &Manifest, ranked: &Ranked, sized: bool) -> Vec<String> {
    let mut row = values(ranked);
    row.extend(sized.then(|| ranked.parameters.map_or("-".into(), |parameters| parameters.to_string())));
    row.push(format!("{} of {}", ranked.completed, ranked.completed + ranked.failed));
    let of = manifest.objective_mean();
    let summary = summarise(ranked.by_seed.values().copied(), of);
    let or_none = |value: Option<f64>| value.map_or("-".into(), figure);
    row.push(summary.as_ref().map_or("-".into(), |summary| figure(summary.mean) + summary.remark(of)));
    row.push(or_none(summary.as_ref().and_then(|summary| summary.sd)));
    let interval = summary.and_then(|summary| summary.interval);
    row.push(interval.map_or("-".into(), |(low, high)| format!("[{}, {}]", figure(low), figure(high))));
    row.extend(ranked.medians.iter().map(|m| m.map_or("-".into(), figure)));
    row
}

/// Each configuration against the first, and how its seeds ended.
pub fn seed_by_seed(manifest: &Manifest, study: &Report) -> PageTable {
    let ended = seeds::column(manifest);
    if !is_contrasted(study) && ended.is_none() {
        return PageTable::default();
    }
    let mut columns = dimensions(study);
    let mut rows: Vec<Vec<String>> = study.ranked.iter().take(LISTED).map(values).collect();
    if is_contrasted(study) {
        let against_first = format!("{} against the first", manifest.objective.name);
        columns.extend(["common seeds".into(), against_first, "p".into(), "verdict".into(), "correlation".into()]);
        let contrasts = contrasts(manifest, study).into_iter().map(|contrast| {
            let or_none = |text: Option<String>| text.unwrap_or("-".into());
            let test = contrast.test.as_ref();
            [
                test.map_or("0".into(), |test| test.n.to_string()),
                or_none(test.map(|test| test.change())),
                or_none(test.map(|_| shown(contrast.p))),
                contrast.verdict.to_string(),
                or_none(test.and_then(|test| test.correlation).map(|r| format!("{r:.2}"))),
            ]
        });
        let first = ["-".into(), "-".into(), "-".into(), "the first".into(), "-".into()];
        rows.iter_mut().zip(std::iter::once(first).chain(contrasts)).for_each(|(row, cells)| row.extend(cells));
    }
    if let Some(title) = ended {
        columns.push(title);
        rows.iter_mut().zip(&study.ranked).for_each(|(row, ranked)| row.push(seeds::ended(ranked, manifest)));
    }
    PageTable { columns, rows }
}

/// The other configurations against the first.
fn contrasts(manifest: &Manifest, study: &Report) -> Vec<Contrast> {
    let others: Vec<&Ranked> = study.ranked.iter().skip(1).collect();
    against(&study.ranked[0], &others, manifest.objective_mean())
}

/// Whether configurations are tested against the first: of too many nobody reads the tests, and they take long.
fn is_contrasted(study: &Report) -> bool {
    (2..=LISTED).contains(&study.ranked.len())
}

/// What the trials of a seed are called, if their mean stands for it.
pub fn resampled_by(manifest: &Manifest) -> Option<&'static str> {
    manifest.swept.iter().find_map(|name| resampled(name))
}

/// Which configuration the page shows, what its choice is worth, and how to read the tables.
pub fn note(manifest: &Manifest, study: &Report) -> String {
    let Some(best) = study.ranked.first() else { return String::new() };
    if study.ranked.len() == 1 {
        return match resampled_by(manifest) {
            Some(called) => format!("Medians over seeds, of which each has its mean over {called}."),
            None => "Medians over seeds.".into(),
        };
    }
    let more = study.ranked.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" {more} more are in trials.parquet.") } else { String::new() };
    let order = if manifest.objective.maximize { "highest" } else { "lowest" };
    let fresh = manifest.race.as_ref().is_some_and(|race| race.winner.is_some() && !race.fresh.is_empty());
    let worth = if fresh {
        "; on fresh seeds it has what stands above"
    } else {
        ", so its numbers are better than fresh seeds would show"
    };
    let mean = manifest.objective_mean().word();
    let change = match manifest.objective_mean() {
        Mean::Geometric => "geometric mean of ratios (x)",
        Mean::Arithmetic => "mean of differences",
    };
    let raced = manifest.race.as_ref().is_some_and(|race| !race.looks.is_empty());
    let race = if raced { ", which does not know of the race's looks" } else { "" };
    let contrast = if is_contrasted(study) {
        let advice = advice(&contrasts(manifest, study)).map_or(String::new(), |advice| format!(" {advice}."));
        let advice = advice.replacen(" too", " Too", 1);
        format!(
            " Against the first: {change}, seed by seed; p of a sign-flip test with Holm's correction{race}; the correlation \
             over seeds is what comparing seed by seed gains from.{advice}"
        )
    } else {
        String::new()
    };
    let of = resampled_by(manifest)
        .map_or("the trials that completed".into(), |called| format!("seeds of their means over {called}"));
    format!(
        "Over {of}, the {order} median {} first, with its {mean}, standard deviation and, from {FEWEST} seeds on, the 95 % t \
         interval of that mean.{more} Comparison and figures below show the first one ({}). It was chosen by these \
         very seeds{worth}.{contrast}",
        manifest.objective.name,
        described(&best.params)
    )
}
