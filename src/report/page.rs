//! Fills the page's template. What it says in words is composed here; how it looks stands in `page.html`.

use super::baselines::{Comparison, METRICS, RIVALS};
use super::statistics::{FEWEST, Summary, summarise};
use super::tables::{Results, Trial};
use super::{Figure, ReportError};
use crate::store::manifest::{Manifest, StudyStatus};
use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;

/// Trials that are listed at most.
const LISTED: usize = 100;

#[derive(Serialize)]
struct Page<'a> {
    manifest: &'a Manifest,
    sentence: String,
    status: String,
    failures: Vec<String>,
    headline: Vec<Row>,
    columns: Vec<&'static str>,
    headline_note: String,
    others: Vec<Row>,
    figures: Vec<Picture<'a>>,
    trials: Vec<Vec<String>>,
    trial_columns: Vec<String>,
    more_trials: usize,
    environment: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    about: String,
    cells: Vec<Cell>,
}

/// A number and its spread over seeds.
#[derive(Serialize)]
struct Cell {
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

/// The page as HTML.
pub fn fill(
    manifest: &Manifest,
    results: &Results,
    comparison: &Comparison,
    figures: &[Figure],
) -> Result<String, ReportError> {
    let failed = |error: minijinja::Error| ReportError::Page(error.to_string());
    let mut environment = Environment::new();
    environment.add_template("page.html", include_str!("page.html")).map_err(failed)?;
    let picture = |figure: &'_ Figure| Value::from_safe_string(figure.svg.clone());
    let page = Page {
        manifest,
        sentence: sentence(manifest, results),
        status: status(manifest, results),
        failures: failures(results),
        headline: headline(comparison),
        columns: METRICS.to_vec(),
        headline_note: headline_note(manifest, results, comparison),
        others: others(manifest, results),
        figures: (figures.iter())
            .map(|figure| Picture {
                name: &figure.name,
                title: &figure.title,
                caption: &figure.caption,
                svg: picture(figure),
            })
            .collect(),
        trials: results.trials.iter().take(LISTED).map(trial_row).collect(),
        trial_columns: trial_columns(manifest),
        more_trials: results.trials.len().saturating_sub(LISTED),
        environment: environment_rows(manifest),
    };
    let template = environment.get_template("page.html").map_err(failed)?;
    template.render(Serde(&page)).map_err(failed)
}

/// What was run, in one sentence.
fn sentence(manifest: &Manifest, results: &Results) -> String {
    let layers: Vec<String> = manifest.layers.iter().map(|l| format!("{} {}", l.kind, l.size)).collect();
    let iterations = results.trials.iter().map(|t| t.iterations).max().unwrap_or(0);
    let seeds: Vec<String> = results.trials.iter().map(|t| t.seed.to_string()).collect();
    let seeds = match seeds.as_slice() {
        [] => "no trial yet".into(),
        [one] => format!("1 trial, seed {one}"),
        [first, .., last] if seeds.len() > 6 => format!("{} trials, seeds {first} to {last}", seeds.len()),
        several => format!("{} trials, seeds {}", several.len(), several.join(", ")),
    };
    format!(
        "A network of {} ({}; {} parameters) was trained on `{}` ({}, {}) for {}: {seeds}.",
        count(manifest.layers.len(), "layer"),
        layers.join(", "),
        manifest.parameters,
        manifest.data.kind,
        count(manifest.data.steps, "step"),
        count(manifest.data.samples, "sample"),
        count(iterations as usize, "iteration"),
    )
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn status(manifest: &Manifest, results: &Results) -> String {
    let ended = results.trials.len();
    match manifest.status {
        StudyStatus::Finished => {
            format!("Finished: {} of {} completed.", results.completed().count(), count(ended, "trial"))
        }
        StudyStatus::Interrupted => format!("Interrupted: {ended} of {} planned trials are here.", manifest.planned),
        StudyStatus::Running => format!("Not finished: {ended} of {} planned trials are here.", manifest.planned),
    }
}

fn failures(results: &Results) -> Vec<String> {
    let failed =
        results.trials.iter().filter_map(|t| Some(format!("Trial {} (seed {}): {}", t.id, t.seed, t.error.as_ref()?)));
    failed.take(10).collect()
}

fn headline(comparison: &Comparison) -> Vec<Row> {
    let row = |(rival, metrics): (&(&str, &str), &Vec<Vec<f64>>)| Row {
        name: rival.0.into(),
        about: rival.1.into(),
        cells: metrics.iter().map(|values| cell(values)).collect(),
    };
    if comparison.values.first().is_none_or(|metrics| metrics[0].is_empty()) {
        return Vec::new();
    }
    RIVALS.iter().zip(&comparison.values).map(row).collect()
}

/// Several values in a cell: the value, the median with its range, or with its interval.
fn cell(values: &[f64]) -> Cell {
    let Some(Summary { n, median, range, interval }) = summarise(values.iter().copied()) else {
        return Cell { value: "not defined".into(), spread: String::new() };
    };
    let spread = match (n, interval) {
        (1, _) => String::new(),
        (_, Some((low, high))) => format!("[{}, {}]", figure(low), figure(high)),
        _ => format!("{} to {}", figure(range.0), figure(range.1)),
    };
    Cell { value: figure(median), spread }
}

fn headline_note(manifest: &Manifest, results: &Results, comparison: &Comparison) -> String {
    let n = comparison.values.first().map_or(0, |metrics| metrics[0].len());
    let spread = match n {
        0 | 1 => "One seed says nothing about the spread.".to_string(),
        n if n < FEWEST => format!("Median and range of {n} seeds: too few seeds for an interval."),
        n => format!("Median of {n} seeds and, in brackets, the 95 % t interval of the geometric mean."),
    };
    let samples = if comparison.samples < manifest.data.samples {
        format!(" Computed on the first {} of {} samples.", comparison.samples, manifest.data.samples)
    } else {
        String::new()
    };
    let trials = if n < results.completed().count() {
        format!(" Of {} trials the first {n} are compared.", results.completed().count())
    } else {
        String::new()
    };
    format!(
        "{spread}{samples}{trials} Every baseline is fitted to the very samples it is measured on, and so is the \
         network. Lower is better; nmse is the mean squared error over the variance of the target, 1 for its mean."
    )
}

/// Loss and metrics of the table that the comparison does not have.
fn others(manifest: &Manifest, results: &Results) -> Vec<Row> {
    let mut rows = vec![Row {
        name: format!("loss ({})", manifest.loss.name),
        about: manifest.loss.about.clone(),
        cells: vec![cell(&results.completed().filter_map(|t| t.loss).collect::<Vec<_>>())],
    }];
    for (i, metric) in manifest.metrics.iter().enumerate().filter(|(_, m)| !METRICS.contains(&m.name.as_str())) {
        let values: Vec<f64> = results.completed().filter_map(|t| t.metrics.get(i).copied().flatten()).collect();
        rows.push(Row { name: metric.name.clone(), about: metric.about.clone(), cells: vec![cell(&values)] });
    }
    rows
}

fn trial_columns(manifest: &Manifest) -> Vec<String> {
    let mut columns: Vec<String> = vec!["trial".into(), "seed".into(), format!("loss ({})", manifest.loss.name)];
    columns.extend(manifest.metrics.iter().map(|m| m.name.clone()));
    columns.push("seconds".into());
    columns
}

fn trial_row(trial: &Trial) -> Vec<String> {
    let mut row = vec![trial.id.clone(), trial.seed.to_string()];
    row.push(if trial.error.is_some() { "failed".into() } else { trial.loss.map_or("not defined".into(), figure) });
    row.extend(trial.metrics.iter().map(|m| m.map_or("-".into(), figure)));
    row.push(format!("{:.3}", trial.seconds));
    row
}

/// Three digits.
fn figure(x: f64) -> String {
    if x.is_nan() {
        return "not defined".into();
    }
    let size = x.abs();
    if size != 0.0 && !(1e-3..1e4).contains(&size) {
        return format!("{x:.2e}");
    }
    let digits = if size == 0.0 { 0 } else { (2 - size.log10().floor() as i32).max(0) as usize };
    format!("{x:.digits$}")
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
