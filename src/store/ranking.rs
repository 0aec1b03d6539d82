//! Configurations of a study, by the median of their seeds.

use super::SummaryRow;
use super::manifest::{Manifest, Sampling};
use crate::statistics::Mean;
use crate::statistics::precision::Known;
use std::collections::{BTreeMap, HashMap};

/// The dimension that goes through the folds of a split.
pub const FOLD: &str = "data.split.fold";

/// Names of dimensions, and a value of each.
type Params = Vec<(String, String)>;

/// A configuration with its trials summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Its id; several where it was run on several folds.
    pub configs: Vec<String>,
    /// Each dimension with its value.
    pub params: Vec<(String, String)>,
    /// Trials that completed.
    pub completed: usize,
    /// Trials that failed.
    pub failed: usize,
    /// The objective of each trial that completed.
    pub values: Vec<f64>,
    /// The objective by seed, of several folds their mean.
    pub by_seed: BTreeMap<u64, f64>,
    /// The objective of each trial that completed on a fresh seed; these count nowhere else.
    pub fresh: Vec<f64>,
    /// After how many seeds it was dropped, if it was, and how often chance makes it as much worse.
    pub dropped: Option<(usize, f64)>,
    /// How well its mean is known, where seeds were run until it is.
    pub known: Option<Known>,
    /// Medians of the loss and each metric over the trials that completed.
    pub medians: Vec<Option<f64>>,
}

/// The configurations of some trials, the best by the study's objective first, behind them those that were dropped;
/// those without a value last.
pub fn rank(rows: &[SummaryRow], manifest: &Manifest) -> Vec<Ranked> {
    let mut configurations: Vec<(Params, Vec<&SummaryRow>)> = Vec::new();
    let mut places: HashMap<Params, usize> = HashMap::new();
    // Folds of one split are not rivals of each other: what they give belongs together.
    for row in rows {
        let params: Params = row.params.iter().filter(|(name, _)| name != FOLD).cloned().collect();
        let place = *places.entry(params).or_insert_with_key(|params| {
            configurations.push((params.clone(), Vec::new()));
            configurations.len() - 1
        });
        configurations[place].1.push(row);
    }
    let column = column_of(&manifest.objective.name, manifest).map_or(0, |metric| metric + 1);
    let mut ranked: Vec<Ranked> =
        configurations.into_iter().map(|(params, rows)| summed(params, rows, manifest)).collect();
    let key = |configuration: &Ranked| {
        let value = configuration.medians.get(column).copied().flatten().filter(|value| !value.is_nan());
        let signed = value.map(|value| if manifest.objective.maximize { -value } else { value });
        signed.unwrap_or(f64::INFINITY)
    };
    ranked.sort_by(|a, b| a.dropped.is_some().cmp(&b.dropped.is_some()).then(key(a).total_cmp(&key(b))));
    ranked
}

/// The place of a metric; none for the loss.
fn column_of(name: &str, manifest: &Manifest) -> Option<usize> {
    manifest.metrics.iter().position(|metric| metric.name == name)
}

fn summed(params: Params, rows: Vec<&SummaryRow>, manifest: &Manifest) -> Ranked {
    let objective = column_of(&manifest.objective.name, manifest);
    let is_fresh = |row: &&SummaryRow| manifest.race.as_ref().is_some_and(|race| race.fresh.contains(&row.seed));
    let (fresh, rows): (Vec<&SummaryRow>, Vec<&SummaryRow>) = rows.into_iter().partition(is_fresh);
    let mut configs: Vec<String> = rows.iter().chain(&fresh).map(|row| row.config.clone()).collect();
    configs.dedup();
    let completed: Vec<&SummaryRow> = rows.iter().copied().filter(|row| row.error.is_none()).collect();
    let losses = median(completed.iter().filter_map(|row| row.loss).collect());
    let metric = |i: usize| median(completed.iter().filter_map(|row| row.metrics.get(i).copied().flatten()).collect());
    let dropped = manifest.race.iter().flat_map(|race| &race.dropped).find(|one| configs.contains(&one.config));
    Ranked {
        values: completed.iter().filter_map(|row| value(row, objective)).collect(),
        by_seed: by_seed(&completed, objective),
        fresh: fresh.iter().filter(|row| row.error.is_none()).filter_map(|row| value(row, objective)).collect(),
        dropped: dropped.map(|one| (one.seeds, one.p)),
        known: manifest.sampling.as_ref().map(|sampling| known(&rows, sampling, manifest)),
        configs,
        params,
        completed: completed.len(),
        failed: rows.len() - completed.len(),
        medians: std::iter::once(losses).chain((0..manifest.metrics.len()).map(metric)).collect(),
    }
}

/// A metric by seed, of several folds their mean.
fn by_seed(completed: &[&SummaryRow], metric: Option<usize>) -> BTreeMap<u64, f64> {
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for (seed, value) in completed.iter().filter_map(|row| Some((row.seed, value(row, metric)?))) {
        let (sum, n) = sums.entry(seed).or_default();
        (*sum, *n) = (*sum + value, *n + 1.0);
    }
    sums.into_iter().map(|(seed, (sum, n))| (seed, sum / n)).collect()
}

/// How well the mean of a configuration is known.
fn known(rows: &[&SummaryRow], sampling: &Sampling, manifest: &Manifest) -> Known {
    let metric = column_of(&sampling.metric, manifest);
    let value = |row: &SummaryRow| if row.error.is_some() { f64::NAN } else { value(row, metric).unwrap_or(f64::NAN) };
    let values: HashMap<u64, f64> = rows.iter().map(|row| (row.seed, value(row))).collect();
    let seeds = (sampling.from..).take(sampling.precision.max);
    let mean = metric.map_or(Mean::Geometric, |metric| manifest.metrics[metric].mean());
    sampling.precision.known(mean, &seeds.map(|seed| values.get(&seed).copied()).collect::<Vec<_>>())
}

/// What makes one configuration better than another, of one trial.
pub fn objective_of(row: &SummaryRow, manifest: &Manifest) -> Option<f64> {
    value(row, column_of(&manifest.objective.name, manifest))
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

/// Mean over folds of each seed, then mean and standard deviation over seeds, of the loss and each metric.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossValidated {
    /// Folds.
    pub folds: usize,
    /// Seeds for which every fold completed.
    pub seeds: usize,
    /// Mean and standard deviation of the loss and each metric; the latter none of a single seed.
    pub values: Vec<(f64, Option<f64>)>,
}

/// What the folds of a split give together, where they are all that is swept.
pub fn cross_validated(rows: &[SummaryRow]) -> Option<CrossValidated> {
    if rows.iter().any(|row| row.params.len() != 1 || row.params[0].0 != FOLD) {
        return None;
    }
    let mut seeds: BTreeMap<u64, Vec<&SummaryRow>> = BTreeMap::new();
    rows.iter().filter(|row| row.error.is_none()).for_each(|row| seeds.entry(row.seed).or_default().push(row));
    let folds = seeds.values().map(Vec::len).max()?;
    seeds.retain(|_, rows| rows.len() == folds);
    let columns = rows.first()?.metrics.len() + 1;
    let of = |row: &SummaryRow, column: usize| match column {
        0 => row.loss,
        metric => row.metrics[metric - 1],
    };
    let over_folds = |rows: &Vec<&SummaryRow>, column: usize| {
        rows.iter().map(|row| of(row, column).unwrap_or(f64::NAN)).sum::<f64>() / folds as f64
    };
    let value = |column: usize| {
        let means: Vec<f64> = seeds.values().map(|rows| over_folds(rows, column)).collect();
        let n = means.len() as f64;
        let mean = means.iter().sum::<f64>() / n;
        let squares = means.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        (mean, (means.len() > 1).then(|| (squares / (n - 1.0)).sqrt()))
    };
    Some(CrossValidated { folds, seeds: seeds.len(), values: (0..columns).map(value).collect() })
}

/// The values of a configuration in one line.
pub fn described(params: &[(String, String)]) -> String {
    let parts: Vec<String> = params.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    parts.join(", ")
}
