//! Seeds until a mean is known well enough.
//!
//! Whoever looks after every seed and stops when the interval happens to be narrow has an interval that misses too often.
//! Here the numbers of seeds at which it is looked at are planned, and each look's interval may miss with [`LEVEL`] /
//! looks, so that all of them together miss in at most [`LEVEL`] of all studies, whatever makes a study stop (Bonferroni's
//! inequality; Jennison & Turnbull 2000, Group Sequential Methods, chapter 9, on repeated intervals). That takes about
//! twice the seeds of an interval that is looked at once.

use super::{Interval, LEVEL, Mean, interval};
use serde::{Deserialize, Serialize};

/// Numbers of seeds at which results are looked at: each half as many again as the one before. The last may be larger,
/// so that no look comes soon after another.
pub fn looks(min: usize, max: usize) -> Vec<usize> {
    let next = |n: &usize| {
        let next = n + n.div_ceil(2);
        (*n < max).then_some(if next + next / 4 < max { next } else { max })
    };
    std::iter::successors(Some(min.min(max)), next).collect()
}

/// How well a mean is to be known, and what that may cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    /// Half of the interval's width, as a part of the mean.
    pub relative_half_width: f64,
    /// Seeds at the first look.
    pub min: usize,
    /// Seeds at the last.
    pub max: usize,
}

/// What the seeds of a configuration say so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// So many seeds, from the first on, are needed before anything is decided.
    Wants(usize),
    /// The mean is known well enough, from so many seeds.
    Enough(usize, Interval),
    /// It is not, and there are no more seeds. The interval may be missing, where too few trials completed.
    NotEnough(usize, Option<Interval>),
}

impl Known {
    /// Seeds that it is made of, or that are needed first.
    pub fn seeds(&self) -> usize {
        let (Known::Wants(seeds) | Known::Enough(seeds, _) | Known::NotEnough(seeds, _)) = self;
        *seeds
    }
}

impl Precision {
    /// How often the interval of one look may miss.
    pub fn level(&self) -> f64 {
        LEVEL / looks(self.min, self.max).len() as f64
    }

    /// What the first seeds say, in their order: none of a seed that has not ended, not a number of one that failed,
    /// which counts as a seed and is left out of the mean.
    pub fn known(&self, of: Mean, values: &[Option<f64>]) -> Known {
        let level = self.level();
        for n in looks(self.min, self.max) {
            let first: Option<Vec<f64>> = values.get(..n).and_then(|first| first.iter().copied().collect());
            let Some(mut first) = first else { return Known::Wants(n) };
            first.retain(|value| !value.is_nan());
            match interval(&first, of, level) {
                Some(interval) if relative_half_width(&interval) <= self.relative_half_width => {
                    return Known::Enough(n, interval);
                }
                interval if n == self.max => return Known::NotEnough(n, interval),
                _ => {}
            }
        }
        Known::Wants(self.max)
    }
}

/// Half of an interval's width as a part of its mean.
pub fn relative_half_width(interval: &Interval) -> f64 {
    (interval.high - interval.low) / (2.0 * interval.mean.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    const TEN_PERCENT: Precision = Precision { relative_half_width: 0.1, min: 10, max: 300 };

    #[test]
    fn looks_grow_by_half_and_end_with_the_last() {
        assert_eq!(looks(10, 60), [10, 15, 23, 35, 60]);
        assert_eq!(looks(10, 10), [10]);
        assert_eq!(looks(5, 20), [5, 8, 12, 20]);
    }

    #[test]
    fn nothing_is_decided_between_looks_or_while_a_seed_is_missing() {
        let equal = |n: usize| vec![Some(2.0); n];
        assert_eq!(TEN_PERCENT.known(Mean::Geometric, &equal(9)), Known::Wants(10));
        let mut missing = equal(12);
        missing[3] = None;
        assert_eq!(TEN_PERCENT.known(Mean::Geometric, &missing), Known::Wants(10));
        assert!(matches!(TEN_PERCENT.known(Mean::Geometric, &equal(12)), Known::Enough(10, _)));
        let wild: Vec<Option<f64>> = (0..12).map(|i| Some(f64::from(1 + i % 2 * 9))).collect();
        assert_eq!(TEN_PERCENT.known(Mean::Geometric, &wild), Known::Wants(15));
    }

    #[test]
    fn trials_that_failed_are_seeds_without_a_value() {
        let mut values = vec![Some(f64::NAN); 10];
        assert_eq!(TEN_PERCENT.known(Mean::Geometric, &values), Known::Wants(15));
        values.resize(300, Some(f64::NAN));
        assert_eq!(TEN_PERCENT.known(Mean::Geometric, &values), Known::NotEnough(300, None));
    }

    /// A standard normal number.
    fn normal(stream: &mut Stream) -> f64 {
        let angle = 2.0 * std::f64::consts::PI * stream.unit();
        (-2.0 * (1.0 - stream.unit()).ln()).sqrt() * angle.cos()
    }

    /// Of many studies the part whose last interval has the true mean, and their mean number of seeds.
    fn coverage(precision: &Precision, draw: &mut dyn FnMut() -> f64, truth: f64) -> (f64, f64) {
        let studies = 1000;
        let (mut hits, mut seeds) = (0, 0);
        for _ in 0..studies {
            let values: Vec<Option<f64>> = (0..precision.max).map(|_| Some(draw())).collect();
            let (n, interval) = match precision.known(Mean::Geometric, &values) {
                Known::Enough(n, interval) => (n, Some(interval)),
                Known::NotEnough(n, interval) => (n, interval),
                Known::Wants(_) => panic!("all seeds are there"),
            };
            hits += usize::from(interval.is_some_and(|i| (i.low..=i.high).contains(&truth)));
            seeds += n;
        }
        (hits as f64 / f64::from(studies), seeds as f64 / f64::from(studies))
    }

    /// Repeated looks do not spoil the coverage, neither where logarithms are normal nor where they are skewed; looking
    /// once too often with a plain interval does, and this test would see it.
    #[test]
    fn the_last_interval_covers_the_mean_at_least_as_often_as_it_says() {
        let mut stream = Stream::new(7, "coverage");
        let log_normal = coverage(&TEN_PERCENT, &mut || (0.4 * normal(&mut stream)).exp(), 1.0);
        let skewed = coverage(&TEN_PERCENT, &mut || (0.4 * (-(1.0 - stream.unit()).ln() - 1.0)).exp(), 1.0);
        println!("coverage, seeds: log-normal {log_normal:?}, skewed logarithms {skewed:?}");
        assert!(log_normal.0 >= 0.95 && skewed.0 >= 0.94, "{log_normal:?} {skewed:?}");
        assert!(log_normal.1 > 20.0 && log_normal.1 < 299.0, "studies stop by themselves: {log_normal:?}");
        let plain_normal = coverage_of_plain_intervals(&mut || (0.4 * normal(&mut stream)).exp());
        let plain = coverage_of_plain_intervals(&mut || (0.4 * (-(1.0 - stream.unit()).ln() - 1.0)).exp());
        println!("a plain interval after every seed: log-normal {plain_normal}, skewed {plain}");
        assert!(plain < 0.93, "a plain interval, looked at after every seed, covers {plain}");
    }

    /// The same with a plain interval after every seed.
    fn coverage_of_plain_intervals(draw: &mut dyn FnMut() -> f64) -> f64 {
        let studies = 1000;
        let hits = (0..studies).filter(|_| {
            let mut values: Vec<f64> = (0..TEN_PERCENT.min).map(|_| draw()).collect();
            loop {
                let found = interval(&values, Mean::Geometric, LEVEL);
                let Some(found) = found.filter(|i| relative_half_width(i) <= 0.1 || values.len() >= 300) else {
                    values.push(draw());
                    continue;
                };
                return (found.low..=found.high).contains(&1.0);
            }
        });
        hits.count() as f64 / f64::from(studies)
    }
}
