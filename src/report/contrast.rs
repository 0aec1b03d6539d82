//! Configurations of a study held against one of them, on the seeds that both have.

use crate::statistics::pairs::{self, Paired, Verdict, judged, paired};
use crate::statistics::{Mean, median_of};
use crate::store::ranking::Ranked;
use rayon::prelude::*;

/// A configuration against another.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// The test; none where they have no seed in common.
    pub test: Option<Paired>,
    /// The median of the configuration over the common seeds.
    pub median: Option<f64>,
    /// How often chance alone gives as much, corrected for the number of contrasts.
    pub p: f64,
    /// What that says.
    pub verdict: Verdict,
}

/// The objective of each configuration against that of one of them, all of them corrected for together; `of` is the mean
/// that says something of it.
pub fn against(baseline: &Ranked, others: &[&Ranked], of: Mean) -> Vec<Contrast> {
    let common = |one: &&Ranked| -> Vec<(f64, f64)> {
        one.by_seed.iter().filter_map(|(seed, value)| Some((*baseline.by_seed.get(seed)?, *value))).collect()
    };
    let pairs: Vec<Vec<(f64, f64)>> = others.iter().map(common).collect();
    let tests: Vec<Option<Paired>> = pairs.par_iter().map(|pairs| paired(pairs, of)).collect();
    let judged = judged(&tests.iter().map(Option::as_ref).collect::<Vec<_>>());
    let medians = pairs.iter().map(|pairs| median_of(pairs.iter().map(|pair| pair.1)));
    let together = tests.iter().zip(medians).zip(judged);
    let contrast = |((test, median), judged): ((&Option<Paired>, Option<f64>), pairs::Judged)| Contrast {
        test: test.clone(),
        median,
        p: judged.p,
        verdict: judged.verdict,
    };
    together.map(contrast).collect()
}

/// How many seeds would do, where contrasts have too few.
pub fn advice(contrasts: &[Contrast]) -> Option<String> {
    let seeds = |contrast: &Contrast| contrast.test.as_ref().map_or(0, |test| test.n);
    pairs::advice(contrasts.iter().map(|contrast| (seeds(contrast), contrast.verdict)))
}
