//! Pruners: which configurations of a sweep are dropped before they were run on all seeds.

use crate::keys;
use crate::statistics::{Mean, race};

/// What a pruner knows of a study beside results.
#[derive(Debug, Clone, PartialEq)]
pub struct Contest {
    /// Numbers of seeds at which configurations are compared, ascending; the last is that of all seeds.
    pub looks: Vec<usize>,
    /// Configurations that the study began with.
    pub configurations: usize,
    /// The mean that says something of the objective.
    pub of: Mean,
    /// Whether more is better.
    pub maximize: bool,
}

/// Drops configurations while their seeds are being run.
pub trait Pruner: Send + Sync {
    /// Numbers of seeds at which so many configurations are compared, ascending, of which the last is `seeds`.
    ///
    /// # Errors
    /// Where so few seeds could drop nothing; says how many could.
    fn looks(&self, seeds: usize, configurations: usize) -> Result<Vec<usize>, String>;

    /// The configurations to drop at a look, by their place among those that are left, each with the probability that
    /// it is worse by chance alone. Each has the objective of the same seeds, not a number where its trial failed.
    fn dropped(&self, left: &[&[f64]], contest: &Contest) -> Vec<(usize, f64)>;

    /// Its rule, as the report says it.
    fn rule(&self, contest: &Contest) -> String;
}

keys! {
    /// Drops what a paired test calls worse than the best ([`race`]).
    pub struct Race {
        /// seeds at the first comparison, if they can decide anything
        pub min: usize = between(1, 100_000).or(5),
    }
}

/// What `runner show pruner race` says of it.
pub const DETAIL: &str = "\
configurations that are left are compared when each has so many seeds, then half as many again, and so on
test       sign-flip, seed by seed, against the one with the best mean (of logarithms, where lower is better)
level      0.05 / (looks * (configurations - 1)) each, so that the best is dropped in at most 5 % of races
failures   a trial that failed counts as much as the worst value of all
winner     the best of those that are left; it is run again on `[sweep] fresh` seeds (10 unless said) that nothing was
           chosen on
";

impl Pruner for Race {
    fn looks(&self, seeds: usize, configurations: usize) -> Result<Vec<usize>, String> {
        let enough = |seeds: &usize| race::looks(self.min, *seeds, configurations).is_some();
        race::looks(self.min, seeds, configurations).ok_or_else(|| match (seeds..seeds + 100).find(enough) {
            Some(enough) => format!("{enough} seeds could drop one of {configurations} configurations, fewer cannot"),
            None => format!("no number of seeds could drop one of {configurations} configurations"),
        })
    }

    fn dropped(&self, left: &[&[f64]], contest: &Contest) -> Vec<(usize, f64)> {
        let level = race::level(contest.looks.len(), contest.configurations);
        race::worse(left, contest.of, contest.maximize, level)
    }

    fn rule(&self, contest: &Contest) -> String {
        format!(
            "sign-flip tests, seed by seed, against the best so far; a difference counts where chance alone makes it less \
             often than {:.2e}, so that the best is dropped in at most 5 % of races",
            race::level(contest.looks.len(), contest.configurations)
        )
    }
}
