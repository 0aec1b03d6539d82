//! Configurations of a study, by the median of their seeds.

use super::SummaryRow;
use super::manifest::{Manifest, Quantity, Sampling};
use crate::statistics::precision::Known;
use crate::statistics::{Mean, median_of, median_with_failures, summarise};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The dimension that goes through the folds of a split.
const FOLD: &str = "data.split.fold";

/// The dimension that moves the origin of a split in order (Tashman 2000, International Journal of Forecasting 16(4),
/// 437-450).
const ORIGIN: &str = "data.split.train";

/// What the values of a dimension are called, if each of them is scored on rows of its own: they are no rivals of each
/// other, and what they give belongs together.
pub fn resampled(dimension: &str) -> Option<&'static str> {
    match dimension {
        FOLD => Some("folds"),
        ORIGIN => Some("origins"),
        _ => None,
    }
}

/// Names of dimensions, and a value of each.
type Params = Vec<(String, String)>;

/// A configuration with its trials summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Its id; several where it was run on several folds or origins.
    pub configs: Vec<String>,
    /// Each dimension with its value.
    pub params: Vec<(String, String)>,
    /// Numbers in the parameters of its network, where the table says so.
    pub parameters: Option<u64>,
    /// Trials that completed.
    pub completed: usize,
    /// Trials that failed.
    pub failed: usize,
    /// The objective by seed, for those that completed; of several folds or origins their mean, for seeds that have all.
    pub by_seed: BTreeMap<u64, f64>,
    /// The objective on each fresh seed, likewise; these count nowhere else.
    pub fresh: Vec<f64>,
    /// After how many seeds it was dropped, if it was, and how often chance makes it as much worse.
    pub dropped: Option<(usize, f64)>,
    /// How well its mean is known, where seeds were run until it is.
    pub known: Option<Known>,
    /// Medians of the loss and each metric, over seeds likewise.
    pub medians: Vec<Option<f64>>,
}

/// The configurations of some trials, the best by the study's objective first, behind them those that were dropped;
/// those without a value last.
///
/// A trial that failed counts as the worst. Where results decided which seeds were run, only these count: an earlier
/// request may have left others in the folder.
pub fn rank(rows: &[SummaryRow], manifest: &Manifest) -> Vec<Ranked> {
    let mut configurations: Vec<(Params, Vec<&SummaryRow>)> = Vec::new();
    let mut places: HashMap<Params, usize> = HashMap::new();
    let asked = Requested::new(manifest);
    let counted = || rows.iter().filter(|row| asked.of(&row.config, row.seed).is_some());
    let parts = parts_of(counted());
    for row in counted() {
        let params: Params = row.params.iter().filter(|(name, _)| resampled(name).is_none()).cloned().collect();
        let place = *places.entry(params).or_insert_with_key(|params| {
            configurations.push((params.clone(), Vec::new()));
            configurations.len() - 1
        });
        configurations[place].1.push(row);
    }
    let mut ranked: Vec<(f64, Ranked)> =
        configurations.into_iter().map(|(params, rows)| summed(params, rows, manifest, (&asked, parts))).collect();
    ranked.sort_by(|(a, x), (b, y)| x.dropped.is_some().cmp(&y.dropped.is_some()).then(a.total_cmp(b)));
    ranked.into_iter().map(|(_, ranked)| ranked).collect()
}

/// Which trials the latest request asked for, where results decided that.
pub struct Requested<'a> {
    manifest: &'a Manifest,
    /// The place of each seed in the order in which they were run.
    places: HashMap<u64, usize>,
}

/// What a trial is to a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It ranks its configuration.
    Ranks,
    /// It says what the winner is worth.
    Fresh,
}

impl<'a> Requested<'a> {
    /// Those of a manifest.
    pub fn new(manifest: &'a Manifest) -> Requested<'a> {
        let seeds = manifest.entrants.iter().flat_map(|entrants| &entrants.seeds);
        Requested { manifest, places: seeds.enumerate().map(|(place, seed)| (*seed, place)).collect() }
    }

    /// What a trial is; none where it was not asked for.
    pub fn of(&self, config: &str, seed: u64) -> Option<Role> {
        let Some(entrants) = &self.manifest.entrants else { return Some(Role::Ranks) };
        let seeds = entrants.configs.get(config)?;
        if self.places.get(&seed).is_some_and(|place| place < seeds) {
            return Some(Role::Ranks);
        }
        let race = self.manifest.race.as_ref()?;
        (race.winner.as_deref() == Some(config) && race.fresh.contains(&seed)).then_some(Role::Fresh)
    }
}

/// The place of a metric; none for the loss.
fn column_of(name: &str, manifest: &Manifest) -> Option<usize> {
    manifest.metrics.iter().position(|metric| metric.name == name)
}

/// A configuration summed up, behind the number that ranks it.
fn summed(
    params: Params,
    rows: Vec<&SummaryRow>,
    manifest: &Manifest,
    (asked, parts): (&Requested<'_>, usize),
) -> (f64, Ranked) {
    let objective = column_of(&manifest.objective.name, manifest);
    let (fresh, rows): (Vec<&SummaryRow>, Vec<&SummaryRow>) =
        rows.into_iter().partition(|row| asked.of(&row.config, row.seed) == Some(Role::Fresh));
    let mut configs: Vec<String> = rows.iter().chain(&fresh).map(|row| row.config.clone()).collect();
    configs.dedup();
    let (seeds, fresh) = (seeds_of(&rows, parts), seeds_of(&fresh, parts));
    let completed = rows.iter().filter(|row| row.error.is_none()).count();
    let dropped = manifest.race.iter().flat_map(|race| &race.dropped).find(|one| configs.contains(&one.config));
    let by_seed = column_by_seed(&seeds, objective);
    let all: HashSet<u64> = rows.iter().map(|row| row.seed).collect();
    let sign = if manifest.objective.maximize { -1.0 } else { 1.0 };
    let signed = by_seed.values().map(|value| sign * value).collect();
    let rank = median_with_failures(signed, all.len() - by_seed.len());
    let ranked = Ranked {
        by_seed,
        fresh: fresh.iter().filter_map(|rows| mean(rows, objective)).collect(),
        dropped: dropped.map(|one| (one.seeds, one.p)),
        known: manifest.sampling.as_ref().map(|sampling| known(&rows, sampling, manifest)),
        configs,
        params,
        parameters: rows.first().and_then(|row| row.parameters),
        completed,
        failed: rows.len() - completed,
        medians: columns(manifest)
            .map(|metric| median_of(seeds.iter().filter_map(|rows| mean(rows, metric))))
            .collect(),
    };
    (rank, ranked)
}

/// The loss and each metric of one configuration by seed, of several folds or origins their mean.
pub fn by_seed(one: &Ranked, rows: &[SummaryRow], manifest: &Manifest) -> Vec<BTreeMap<u64, f64>> {
    let own: Vec<&SummaryRow> =
        rows.iter().filter(|row| one.configs.contains(&row.config) && one.by_seed.contains_key(&row.seed)).collect();
    let seeds = seeds_of(&own, parts_of(own.iter().copied()));
    columns(manifest).map(|metric| column_by_seed(&seeds, metric)).collect()
}

/// The loss, then the place of each metric.
fn columns(manifest: &Manifest) -> impl Iterator<Item = Option<usize>> {
    std::iter::once(None).chain((0..manifest.metrics.len()).map(Some))
}

/// One of them by seed.
fn column_by_seed(seeds: &[Vec<&SummaryRow>], metric: Option<usize>) -> BTreeMap<u64, f64> {
    seeds.iter().filter_map(|rows| Some((rows[0].seed, mean(rows, metric)?))).collect()
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

/// Trials that completed, those of one seed together; seeds that lack a fold or origin are left out.
fn seeds_of<'a>(rows: &[&'a SummaryRow], parts: usize) -> Vec<Vec<&'a SummaryRow>> {
    let mut seeds: BTreeMap<u64, Vec<&SummaryRow>> = BTreeMap::new();
    rows.iter().filter(|row| row.error.is_none()).for_each(|row| seeds.entry(row.seed).or_default().push(row));
    seeds.into_values().filter(|rows| rows.len() == parts).collect()
}

/// How many folds or origins some trials have together; 1 where there are none.
fn parts_of<'a>(rows: impl Iterator<Item = &'a SummaryRow>) -> usize {
    let part = |row: &'a SummaryRow| -> Vec<&'a (String, String)> {
        row.params.iter().filter(|(name, _)| resampled(name).is_some()).collect()
    };
    rows.map(part).collect::<HashSet<_>>().len().max(1)
}

/// The mean of a metric, or of the loss; none where a trial has none, or it is not defined.
fn mean(rows: &[&SummaryRow], metric: Option<usize>) -> Option<f64> {
    let values: Option<Vec<f64>> = rows.iter().map(|row| value(row, metric)).collect();
    values.map(|values| values.iter().sum::<f64>() / values.len() as f64).filter(|mean| !mean.is_nan())
}

/// What makes one configuration better than another, of one trial.
pub fn objective_of(row: &SummaryRow, manifest: &Manifest) -> Option<f64> {
    value(row, column_of(&manifest.objective.name, manifest))
}

/// The best of some trials by the study's objective; none where it is defined for none of them.
pub fn best<'a>(rows: impl IntoIterator<Item = &'a SummaryRow>, manifest: &Manifest) -> Option<&'a SummaryRow> {
    let sign = if manifest.objective.maximize { -1.0 } else { 1.0 };
    let value = |row: &SummaryRow| objective_of(row, manifest).filter(|value| value.is_finite());
    let completed = rows.into_iter().filter(|row| row.error.is_none());
    let values = completed.filter_map(|row| Some((sign * value(row)?, row)));
    values.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, row)| row)
}

/// A metric of a trial, or its loss.
fn value(row: &SummaryRow, metric: Option<usize>) -> Option<f64> {
    match metric {
        Some(metric) => row.metrics.get(metric).copied().flatten(),
        None => row.loss,
    }
}

/// Mean over folds or origins of each seed, then mean and standard deviation over seeds, of the loss and each metric.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossValidated {
    /// Folds or origins.
    pub folds: usize,
    /// What they are called.
    pub called: &'static str,
    /// Seeds for which every one of them completed.
    pub seeds: usize,
    /// Mean, geometric for errors, and standard deviation of the loss and each metric; the latter none of a single seed.
    pub values: Vec<(f64, Option<f64>)>,
}

/// What the folds or origins of a split give together, where they are all that is swept.
pub fn cross_validated(rows: &[SummaryRow], manifest: &Manifest) -> Option<CrossValidated> {
    let [(dimension, _)] = &rows.first()?.params[..] else { return None };
    let called = resampled(dimension)?;
    let folds = parts_of(rows.iter());
    let seeds = seeds_of(&rows.iter().collect::<Vec<_>>(), folds);
    if seeds.is_empty() {
        return None;
    }
    let columns = rows.first()?.metrics.len() + 1;
    let value = |column: usize| {
        let metric = column.checked_sub(1);
        let of = metric.and_then(|metric| manifest.metrics.get(metric)).map_or(Mean::Geometric, Quantity::mean);
        let summary = summarise(seeds.iter().filter_map(|rows| mean(rows, metric)), of);
        summary.map_or((f64::NAN, None), |summary| (summary.mean, summary.sd))
    };
    Some(CrossValidated { folds, called, seeds: seeds.len(), values: (0..columns).map(value).collect() })
}

/// The title of the column with the numbers in the parameters of each configuration, where these differ.
pub fn sizes(ranked: &[Ranked]) -> Option<&'static str> {
    ranked.windows(2).any(|pair| pair[0].parameters != pair[1].parameters).then_some("parameters")
}

/// The values of a configuration in one line.
pub fn described(params: &[(String, String)]) -> String {
    let parts: Vec<String> = params.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seed: u64, fold: &str, loss: Option<f64>) -> SummaryRow {
        let error = loss.is_none().then(|| "failed".to_string());
        let params = vec![(FOLD.to_string(), fold.to_string()), ("hidden".to_string(), "4".to_string())];
        let (trial, config) = (format!("{seed}{fold}"), fold.to_string());
        let (parameters, metrics) = (None, Vec::new());
        SummaryRow { trial, config, params, seed, parameters, error, loss, metrics, iterations: 0, seconds: 0.0 }
    }

    #[test]
    fn a_seed_counts_only_with_all_folds_that_the_study_has() {
        // The second fold fails for every seed.
        let rows = [row(0, "0", Some(1.0)), row(0, "1", None), row(1, "0", Some(1.0)), row(1, "1", None)];
        let all: Vec<&SummaryRow> = rows.iter().collect();
        assert_eq!(parts_of(rows.iter()), 2);
        assert!(seeds_of(&all, 2).is_empty());
        let whole = [row(2, "0", Some(1.0)), row(2, "1", Some(3.0))];
        let all: Vec<&SummaryRow> = rows.iter().chain(&whole).collect();
        let seeds = seeds_of(&all, 2);
        assert_eq!((seeds.len(), mean(&seeds[0], None)), (1, Some(2.0)));
        assert_eq!(parts_of([].into_iter()), 1);
    }

    #[test]
    fn what_is_not_defined_is_no_value() {
        let rows = [row(0, "0", Some(f64::NAN))];
        assert_eq!(mean(&[&rows[0]], None), None);
    }
}
