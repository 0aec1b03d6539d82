//! What a run prints at its end: a row a trial, or a row a configuration.

use super::{Exit, complain, print, print_code};
use crate::report::seeds;
use crate::spec::shown::shown;
use crate::statistics::{Mean, summarise as summarise_values};
use crate::store::SummaryRow;
use crate::store::manifest::{Manifest, Quantity};
use crate::store::ranking::{self, CrossValidated, Ranked};
use serde_json::json;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printing {
    /// As a table for people.
    Table,
    /// A line of JSON a trial.
    Json,
    /// Not at all; errors are.
    Quiet,
}

/// Prints the trials that were asked for, and says how the program ends. `closing` is the last line.
pub fn summarise(rows: &[SummaryRow], manifest: &Manifest, how: Printing, interrupted: bool, closing: &str) -> Exit {
    match how {
        Printing::Json => rows.iter().for_each(|row| print_code(&format!("{}\n", json_line(row, manifest)))),
        Printing::Quiet => {}
        Printing::Table => {
            let swept = !manifest.swept.is_empty();
            let ranked = ranking::rank(rows, manifest);
            print(&if swept { configurations(rows, &ranked, manifest) } else { table(rows, manifest) });
            seeds::notes(manifest, &ranked).iter().for_each(|note| print(&format!("{note}\n")));
            print(closing);
        }
    }
    let failed: Vec<&SummaryRow> = rows.iter().filter(|row| row.error.is_some()).collect();
    for row in failed.iter().take(10) {
        complain(&format!(
            "error: trial {} (seed {}) failed: {}\n",
            row.trial,
            row.seed,
            row.error.as_deref().unwrap_or("")
        ));
    }
    if failed.len() > 10 {
        complain(&format!("error: {} trials failed in all\n", failed.len()));
    }
    if interrupted {
        let text = format!(
            "interrupted: {} of {} trials are finished and kept; the same command goes on",
            rows.len(),
            manifest.planned
        );
        complain(&format!("{text}\n"));
        return Exit::Interrupted;
    }
    if failed.is_empty() { Exit::Fine } else { Exit::TrialFailed }
}

/// Trials that are printed one by one; of more only the first are.
const PRINTED: usize = 20;

fn table(rows: &[SummaryRow], manifest: &Manifest) -> String {
    let mut header = vec!["trial".to_string(), "seed".into()];
    header.extend(quantities(manifest));
    header.push("seconds".into());
    let mut lines = vec![header];
    for row in rows.iter().take(PRINTED) {
        let mut line = vec![row.trial.clone(), row.seed.to_string()];
        match &row.error {
            None => line.extend(std::iter::once(row.loss).chain(row.metrics.iter().copied()).map(figure)),
            Some(_) => {
                line.extend(std::iter::once("failed".into()).chain(manifest.metrics.iter().map(|_| "-".to_string())))
            }
        }
        line.push(format!("{:.3}", row.seconds));
        lines.push(line);
    }
    let mut text = aligned(&lines);
    if rows.len() > PRINTED {
        text += &format!("... and {} more in trials.parquet\n", rows.len() - PRINTED);
    }
    text
}

/// The medians of each configuration over its seeds, the best first.
fn configurations(rows: &[SummaryRow], ranked: &[Ranked], manifest: &Manifest) -> String {
    let mut header: Vec<String> =
        ranked.first().map_or(&[][..], |first| &first.params).iter().map(|(name, _)| name.clone()).collect();
    let objective = &manifest.objective.name;
    let together = manifest.swept.iter().find_map(|name| ranking::resampled(name));
    let of = manifest.objective_mean();
    let sizes = ranking::sizes(ranked);
    header.extend(sizes.map(String::from));
    header.extend(["seeds".into(), format!("{} {objective}", of.word()), "sd".into(), "95 % interval".into()]);
    header.extend(quantities(manifest).map(|name| format!("median {name}")));
    header.extend(seeds::column(manifest));
    let mut lines = vec![header];
    for configuration in ranked.iter().take(PRINTED) {
        let mut line: Vec<String> = configuration.params.iter().map(|(_, value)| value.clone()).collect();
        line.extend(sizes.map(|_| size(configuration)));
        line.push(configuration.by_seed.len().to_string());
        line.extend(spread(configuration.by_seed.values().copied(), of));
        line.extend(configuration.medians.iter().copied().map(figure));
        line.extend(seeds::column(manifest).map(|_| seeds::ended(configuration, manifest)));
        lines.push(line);
    }
    let means = together.map_or(String::new(), |called| format!(" of means over {called}"));
    let mut text = format!("over seeds{means}, ordered by the median {objective}\n");
    text += &aligned(&lines);
    text += &ranking::cross_validated(rows, manifest).map_or(String::new(), |folds| cross_validation(&folds, manifest));
    if ranked.len() > PRINTED {
        text += &format!("... and {} more configurations in trials.parquet\n", ranked.len() - PRINTED);
    }
    text
}

/// The numbers in the parameters of a configuration.
fn size(configuration: &Ranked) -> String {
    configuration.parameters.map_or("-".into(), |parameters| parameters.to_string())
}

/// What the folds or origins of a split give together, on the part that was trained on least.
fn cross_validation(folds: &CrossValidated, manifest: &Manifest) -> String {
    let names = std::iter::once("loss").chain(manifest.metrics.iter().map(|metric| metric.name.as_str()));
    let part = manifest.data.parts.last().map_or("", |(part, _)| part);
    let judged = |name: &str| name.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'));
    let shown = names.zip(&folds.values).filter(|(name, _)| judged(name)).map(|(name, (mean, sd))| {
        let sd = sd.map_or(String::new(), |sd| format!(" (sd {sd:.4})"));
        format!("{name} {mean:.4}{sd}")
    });
    let shown: Vec<String> = shown.collect();
    let over = format!("mean over {} {}, then over {} seeds", folds.folds, folds.called, folds.seeds);
    format!("{over} (geometric for errors): {}\n", shown.join(", "))
}

/// Mean, standard deviation and interval of the objective.
fn spread(values: impl Iterator<Item = f64>, of: Mean) -> [String; 3] {
    let summary = summarise_values(values, of);
    let interval = summary.as_ref().and_then(|summary| summary.interval);
    [
        summary.as_ref().map_or("-".into(), |summary| figure(Some(summary.mean)) + summary.remark(of)),
        figure(summary.as_ref().and_then(|summary| summary.sd)),
        interval.map_or("-".into(), |(low, high)| format!("[{}, {}]", figure(Some(low)), figure(Some(high)))),
    ]
}

/// Headings of loss and metrics, with units.
fn quantities(manifest: &Manifest) -> impl Iterator<Item = String> {
    let unit = |q: &Quantity| if q.unit == "1" { q.name.clone() } else { format!("{} ({})", q.name, q.unit) };
    let loss = unit(&Quantity { name: "loss".into(), ..manifest.loss.clone() });
    std::iter::once(loss).chain(manifest.metrics.iter().map(unit).collect::<Vec<_>>())
}

/// Lines of cells, right-aligned in columns. A cell keeps to its line, and is as wide as it will be shown.
pub fn aligned(lines: &[Vec<String>]) -> String {
    let cell = |cell: &String| shown(cell).replace('\n', "\\n").replace('\t', "\\t");
    let lines: Vec<Vec<String>> = lines.iter().map(|line| line.iter().map(cell).collect()).collect();
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        text += &format!("{}\n", cells.join("  "));
    }
    text
}

/// A number for people.
pub fn figure(value: Option<f64>) -> String {
    match value {
        Some(x) if x.is_nan() => "undefined".into(),
        Some(x) if x != 0.0 && !(1e-3..1e5).contains(&x.abs()) => format!("{x:.4e}"),
        Some(x) => format!("{x:.5}"),
        None => "-".into(),
    }
}

fn json_line(row: &SummaryRow, manifest: &Manifest) -> serde_json::Value {
    let metrics: serde_json::Map<String, serde_json::Value> =
        manifest.metrics.iter().zip(&row.metrics).map(|(q, value)| (q.name.clone(), json!(value))).collect();
    let params: serde_json::Map<String, serde_json::Value> =
        row.params.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({ "trial": row.trial, "config": row.config, "params": params, "seed": row.seed, "parameters": row.parameters, "error": row.error, "loss": row.loss, "metrics": metrics,
        "duration_s": row.seconds })
}
