//! Configurations of a study, by the median of their seeds.

use super::SummaryRow;
use super::manifest::Manifest;

/// A configuration with its trials summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Its id.
    pub config: String,
    /// Each dimension with its value.
    pub params: Vec<(String, String)>,
    /// Trials that completed.
    pub completed: usize,
    /// Trials that failed.
    pub failed: usize,
    /// The objective of each trial that completed.
    pub values: Vec<f64>,
    /// Medians of the loss and each metric over the trials that completed.
    pub medians: Vec<Option<f64>>,
}

/// The configurations of some trials, the best by the study's objective first; those without a value last.
pub fn rank(rows: &[SummaryRow], manifest: &Manifest) -> Vec<Ranked> {
    let mut configurations: Vec<(&str, Vec<&SummaryRow>)> = Vec::new();
    // Rows of a configuration lie together.
    for row in rows {
        match configurations.last_mut() {
            Some((config, list)) if *config == row.config => list.push(row),
            _ => configurations.push((&row.config, vec![row])),
        }
    }
    let metric = manifest.metrics.iter().position(|metric| metric.name == manifest.objective.name);
    let column = metric.map_or(0, |metric| metric + 1);
    let mut ranked: Vec<Ranked> = configurations.iter().map(|(config, rows)| summed(config, rows, metric)).collect();
    let key = |configuration: &Ranked| {
        let value = configuration.medians.get(column).copied().flatten().filter(|value| !value.is_nan());
        let signed = value.map(|value| if manifest.objective.maximize { -value } else { value });
        signed.unwrap_or(f64::INFINITY)
    };
    ranked.sort_by(|a, b| key(a).total_cmp(&key(b)));
    ranked
}

fn summed(config: &str, rows: &[&SummaryRow], objective: Option<usize>) -> Ranked {
    let completed: Vec<&&SummaryRow> = rows.iter().filter(|row| row.error.is_none()).collect();
    let metrics = rows.first().map_or(0, |row| row.metrics.len());
    let losses = median(completed.iter().filter_map(|row| row.loss).collect());
    let metric = |i: usize| median(completed.iter().filter_map(|row| row.metrics.get(i).copied().flatten()).collect());
    Ranked {
        values: completed.iter().filter_map(|row| value(row, objective)).collect(),
        config: config.into(),
        params: rows.first().map_or(Vec::new(), |row| row.params.clone()),
        completed: completed.len(),
        failed: rows.len() - completed.len(),
        medians: std::iter::once(losses).chain((0..metrics).map(metric)).collect(),
    }
}

/// What makes one configuration better than another, of one trial.
pub fn objective_of(row: &SummaryRow, manifest: &Manifest) -> Option<f64> {
    value(row, manifest.metrics.iter().position(|metric| metric.name == manifest.objective.name))
}

/// A metric of a trial, or its loss.
fn value(row: &SummaryRow, metric: Option<usize>) -> Option<f64> {
    match metric {
        Some(metric) => row.metrics.get(metric).copied().flatten(),
        None => row.loss,
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// The values of a configuration in one line.
pub fn described(params: &[(String, String)]) -> String {
    let parts: Vec<String> = params.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    parts.join(", ")
}
