//! Fills the page's template. What it says in words is composed here; how it looks stands in `page.html`.

use super::baselines::Comparison;
use super::configurations::{self, PageTable};
use super::tables::{Results, TrialRow};
use super::words::{LISTED, figure};
use super::{Figure, Report, ReportError};
use crate::spec::shown::shown;
use crate::statistics::{FEWEST, Mean, Summary, summarise};
use crate::store::manifest::{Manifest, StudyStatus};
use crate::store::ranking::resampled;
use minijinja::value::Serde;
use minijinja::{Environment, HtmlEscape, Value};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Page<'a> {
    manifest: &'a Manifest,
    sentence: String,
    status: String,
    failures: Vec<String>,
    configurations: PageTable,
    seed_by_seed: PageTable,
    configurations_note: String,
    seeds_notes: &'a [String],
    headline: Vec<PageRow>,
    nothing: &'static str,
    columns: Vec<String>,
    headline_note: String,
    others: Vec<PageRow>,
    figures: Vec<Picture<'a>>,
    trials: Vec<Vec<String>>,
    trial_columns: Vec<String>,
    more_trials: usize,
    environment: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct PageRow {
    name: String,
    about: String,
    cells: Vec<PageCell>,
}

/// A number and its spread over seeds.
#[derive(Serialize)]
struct PageCell {
    value: String,
    spread: String,
}

#[derive(Serialize)]
struct Picture<'a> {
    name: &'a str,
    title: &'a str,
    caption: &'a str,
    svg: Value,
}

/// The page as HTML; `running` where another process goes on with the study.
pub fn fill(
    manifest: &Manifest,
    study: &Report,
    results: &Results,
    comparison: &Comparison,
    figures: &[Figure],
    running: bool,
) -> Result<String, ReportError> {
    let failed = |error: minijinja::Error| ReportError::Page(error.to_string());
    let mut environment = Environment::new();
    environment.add_filter("breakable", breakable);
    environment.add_template("page.html", include_str!("page.html")).map_err(failed)?;
    let picture = |figure: &'_ Figure| Value::from_safe_string(figure.svg.clone());
    let page = Page {
        manifest,
        sentence: sentence(manifest, study),
        status: status(manifest, study, running),
        failures: failures(study),
        configurations: configurations::table(manifest, study),
        seed_by_seed: configurations::seed_by_seed(manifest, study),
        configurations_note: configurations::note(manifest, study),
        seeds_notes: &study.seeds,
        headline: headline(comparison),
        nothing: if results.completed().next().is_none() {
            "No trial completed, so there is nothing to compare."
        } else if !results.traces.is_empty() {
            "An output is not as long as its target, or there are more inputs than a baseline can be fitted to in time."
        } else {
            "Sequences are kept of the first 100 trials, and none of those belongs to the best configuration."
        },
        columns: comparison.metrics.clone(),
        headline_note: headline_note(results, comparison),
        others: others(manifest, results, comparison),
        figures: (figures.iter())
            .map(|figure| Picture {
                name: &figure.name,
                title: &figure.title,
                caption: &figure.caption,
                svg: picture(figure),
            })
            .collect(),
        trials: study.trials.iter().take(LISTED).map(trial_row).collect(),
        trial_columns: trial_columns(manifest, study),
        more_trials: study.trials.len().saturating_sub(LISTED),
        environment: environment_rows(manifest),
    };
    let template = environment.get_template("page.html").map_err(failed)?;
    Ok(shown(&template.render(Serde(&page)).map_err(failed)?).into_owned())
}

/// A name whose dots are places where a narrow column may break it.
fn breakable(name: String) -> Value {
    Value::from_safe_string(HtmlEscape(&name).to_string().replace('.', ".<wbr>"))
}

/// What was run, in one sentence.
fn sentence(manifest: &Manifest, study: &Report) -> String {
    let layers: Vec<String> = manifest.layers.iter().map(|l| format!("{} {}", l.kind, l.size)).collect();
    let iterations = || study.trials.iter().map(|t| t.iterations as usize);
    let (least, most) = (iterations().min().unwrap_or(0), iterations().max().unwrap_or(0));
    let iterations = if least == most { count(most, "iteration") } else { format!("{least} to {most} iterations") };
    let mut seeds: Vec<u64> = study.trials.iter().map(|t| t.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let names: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let seeds = match names.as_slice() {
        [one] => format!("seed {one}"),
        [first, .., last] if names.len() > 6 => format!("seeds {first} to {last}"),
        several => format!("seeds {}", several.join(", ")),
    };
    let trials = match (study.trials.len(), study.ranked.len()) {
        (0, _) => "No trial yet".to_string(),
        (n, 0) => format!("{}, {seeds}", count(n, "trial")),
        (n, c) => {
            format!("{} in {} of {}, {seeds}", count(n, "trial"), count(c, "configuration"), dimensions(manifest))
        }
    };
    let split = match &manifest.data.split {
        Some(split) => {
            let parts: Vec<String> = manifest.data.parts.iter().map(|(part, n)| format!("{part} {n}")).collect();
            format!(
                " The samples are split {split} ({}). The weights that are kept are {}.",
                parts.join(", "),
                kept(manifest)
            )
        }
        None if manifest.data.selected.starts_with("those") => {
            format!(" The weights that are kept are {}.", kept(manifest))
        }
        None => String::new(),
    };
    let network = format!(
        "network of {} ({}; {} parameters)",
        count(manifest.layers.len(), "layer"),
        layers.join(", "),
        manifest.parameters,
    );
    let data = format!(
        "`{}` ({}, {})",
        manifest.data.kind,
        count(manifest.data.steps, "step"),
        count(manifest.data.samples, "sample"),
    );
    match manifest.swept.is_empty() {
        true => format!("A {network} was trained on {data} for {iterations}: {trials}.{split}"),
        // The manifest describes one network, and what is swept may change any of this.
        false => format!("{trials}, each for {iterations}. The first configuration is a {network} on {data}.{split}"),
    }
}

/// Which weights are kept, in words.
fn kept(manifest: &Manifest) -> &str {
    if manifest.data.selected.is_empty() { "the last" } else { &manifest.data.selected }
}

fn dimensions(manifest: &Manifest) -> String {
    let names: Vec<String> = manifest.swept.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn status(manifest: &Manifest, study: &Report, running: bool) -> String {
    let ended = study.trials.len();
    let completed = study.trials.iter().filter(|trial| trial.error.is_none()).count();
    match manifest.status {
        StudyStatus::Finished => {
            format!("Finished: {completed} of {} completed.", count(ended, "trial"))
        }
        _ if running => format!("Running: {ended} of {} planned trials are here so far.", manifest.planned),
        StudyStatus::Interrupted => format!("Interrupted: {ended} of {} planned trials are here.", manifest.planned),
        StudyStatus::Running => format!("Not finished: {ended} of {} planned trials are here.", manifest.planned),
    }
}

fn failures(study: &Report) -> Vec<String> {
    let failed =
        study.trials.iter().filter_map(|t| Some(format!("Trial {} (seed {}): {}", t.id, t.seed, t.error.as_ref()?)));
    failed.take(10).collect()
}

fn headline(comparison: &Comparison) -> Vec<PageRow> {
    let row = |(rival, metrics): (&(String, String), &Vec<Vec<f64>>)| PageRow {
        name: rival.0.clone(),
        about: rival.1.clone(),
        cells: metrics.iter().zip(&comparison.means).map(|(values, of)| cell(values, *of)).collect(),
    };
    if comparison.values.first().is_none_or(|metrics| metrics.first().is_none_or(Vec::is_empty)) {
        return Vec::new();
    }
    comparison.rivals.iter().zip(&comparison.values).map(row).collect()
}

/// Several values in a cell: the value, or their mean with their range, or with its interval.
fn cell(values: &[f64], wanted: Mean) -> PageCell {
    let Some(summary) = summarise(values.iter().copied(), wanted) else {
        return PageCell { value: "not defined".into(), spread: String::new() };
    };
    let Summary { n, mean, range, interval, .. } = summary;
    let spread = match (n, interval) {
        (1, _) => String::new(),
        (_, Some((low, high))) => format!("[{}, {}]", figure(low), figure(high)),
        _ => format!("{} to {}", figure(range.0), figure(range.1)),
    };
    PageCell { value: figure(mean) + summary.remark(wanted), spread }
}

fn headline_note(results: &Results, comparison: &Comparison) -> String {
    let n = comparison.values.first().and_then(|metrics| metrics.first()).map_or(0, Vec::len);
    let spread = match n {
        0 | 1 => "One seed says nothing about the spread.".to_string(),
        n if n < FEWEST => {
            format!(
                "Geometric mean of {n} seeds, or mean of what may be negative, and range: too few seeds for an interval."
            )
        }
        n => format!(
            "Geometric mean of {n} seeds, or mean of what may be negative, and in brackets its 95 % t interval."
        ),
    };
    let folded = results.trials.iter().any(|trial| trial.params.iter().any(|(name, _)| resampled(name).is_some()));
    let trials = if n < results.completed().count() && !folded {
        format!(" Of {} trials the first {n} are compared.", results.completed().count())
    } else {
        String::new()
    };
    format!("{spread}{trials} {}", comparison.note)
}

/// Loss and metrics of the table that the comparison does not have.
fn others(manifest: &Manifest, results: &Results, comparison: &Comparison) -> Vec<PageRow> {
    let folded = configurations::resampled_by(manifest).is_some();
    let cell = |value: &dyn Fn(&TrialRow) -> Option<f64>, mean: Mean| {
        cell(&if folded { over_folds(results, value) } else { results.completed().filter_map(value).collect() }, mean)
    };
    let mut rows = vec![PageRow {
        name: format!("loss ({})", manifest.loss.name),
        about: manifest.loss.about.clone(),
        cells: vec![cell(&|trial| trial.loss, Mean::Geometric)],
    }];
    for (i, metric) in manifest.metrics.iter().enumerate().filter(|(_, m)| !comparison.metrics.contains(&m.name)) {
        rows.push(PageRow {
            name: metric.name.clone(),
            about: metric.about.clone(),
            cells: vec![cell(&|trial| trial.metrics.get(i).copied().flatten(), metric.mean())],
        });
    }
    rows
}

/// The mean over folds or origins of each seed that has all of them, as everywhere else.
fn over_folds(results: &Results, value: &dyn Fn(&TrialRow) -> Option<f64>) -> Vec<f64> {
    let mut seeds: BTreeMap<u64, Vec<Option<f64>>> = BTreeMap::new();
    results.completed().for_each(|trial| seeds.entry(trial.seed).or_default().push(value(trial)));
    let parts = seeds.values().map(Vec::len).max().unwrap_or(0);
    let whole = seeds.into_values().filter(|values| values.len() == parts);
    let values = whole.filter_map(|values| values.into_iter().collect::<Option<Vec<f64>>>());
    values.map(|values| values.iter().sum::<f64>() / values.len() as f64).collect()
}

fn trial_columns(manifest: &Manifest, study: &Report) -> Vec<String> {
    let mut columns: Vec<String> = vec!["trial".into(), "seed".into()];
    columns.extend(study.trials.first().map_or(&[][..], |first| &first.params).iter().map(|(name, _)| name.clone()));
    columns.push(format!("loss ({})", manifest.loss.name));
    columns.extend(manifest.metrics.iter().map(|m| m.name.clone()));
    columns.push("seconds".into());
    columns
}

fn trial_row(trial: &TrialRow) -> Vec<String> {
    let mut row = vec![trial.id.clone(), trial.seed.to_string()];
    row.extend(trial.params.iter().map(|(_, value)| value.clone()));
    row.push(if trial.error.is_some() { "failed".into() } else { trial.loss.map_or("not defined".into(), figure) });
    row.extend(trial.metrics.iter().map(|m| m.map_or("-".into(), figure)));
    row.push(format!("{:.3}", trial.seconds));
    row
}

fn environment_rows(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let environment = &manifest.environment;
    let commit = environment.git_commit.as_ref().map(|commit| {
        let dirty = if environment.git_dirty == Some(true) { ", with changes that are not committed" } else { "" };
        format!("{commit}{dirty}")
    });
    vec![
        ("identity", manifest.identity.clone()),
        ("runner", format!("{} (binary {})", environment.runner, environment.binary)),
        ("device", format!("{}, executor {}", environment.device, environment.executor)),
        ("processor", format!("{} ({})", environment.processor, environment.instructions)),
        ("system", format!("{} on {}", environment.platform, environment.host)),
        ("git commit", commit.unwrap_or_else(|| "not in a repository".into())),
        ("started", manifest.started.clone()),
        ("finished", manifest.finished.clone().unwrap_or_else(|| "not yet".into())),
    ]
}
