//! Configurations of a study held against one of them, on the seeds that both have.

use crate::statistics::Mean;
use crate::statistics::pairs::{Paired, holm, paired, verdict};
use crate::store::ranking::Ranked;

/// A configuration against another.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// The test; none where they have no seed in common.
    pub test: Option<Paired>,
    /// How often chance alone gives as much, corrected for the number of contrasts.
    pub p: f64,
    /// What that says.
    pub verdict: &'static str,
}

/// The objective of each configuration against that of one of them, all of them corrected for together; `of` is the mean
/// that says something of it.
pub fn against(baseline: &Ranked, others: &[&Ranked], of: Mean) -> Vec<Contrast> {
    let test = |one: &&Ranked| {
        let common = one.by_seed.iter().filter_map(|(seed, value)| Some((*baseline.by_seed.get(seed)?, *value)));
        paired(&common.collect::<Vec<_>>(), of)
    };
    let tests: Vec<Option<Paired>> = others.iter().map(test).collect();
    let corrected = holm(&tests.iter().map(|test| test.as_ref().map_or(1.0, |test| test.p)).collect::<Vec<_>>());
    let contrast = |(test, p): (Option<Paired>, f64)| Contrast {
        verdict: test.as_ref().map_or("no seed in common", |test| verdict(test, p, others.len())),
        test,
        p,
    };
    tests.into_iter().zip(corrected).map(contrast).collect()
}
