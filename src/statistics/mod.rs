//! One number of several seeds: the median, and what can honestly be said of its spread.
//!
//! `pairs` compares two experiments on common seeds, `precision` says when seeds are enough, `race` which
//! configurations need no more of them. Intervals of positive quantities are t on the log scale, for the geometric
//! mean. Below five seeds none is given.

pub mod pairs;
pub mod precision;
pub mod race;

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Fewest seeds for an interval.
pub const FEWEST: usize = 5;

/// How often an interval may miss its mean, and a difference that is chance may be called none.
pub const LEVEL: f64 = 0.05;

/// Several values of one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Values that are defined.
    pub n: usize,
    /// Their median.
    pub median: f64,
    /// Their mean, which is the one that the interval belongs to.
    pub mean: f64,
    /// Which mean that is: the plain one where a geometric one was asked for and a value is not positive.
    pub of: Mean,
    /// Their standard deviation, with n - 1; none for a single value.
    pub sd: Option<f64>,
    /// Smallest and largest.
    pub range: (f64, f64),
    /// 95 % interval of the mean, where there are seeds enough and, for a geometric one, all values are positive.
    pub interval: Option<(f64, f64)>,
}

impl Summary {
    /// What stands behind the mean of several values where it is another one than its heading says.
    pub fn remark(&self, heading: Mean) -> &'static str {
        if self.n == 1 || self.of == heading { "" } else { " (plain mean)" }
    }
}

/// Which mean an interval is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mean {
    /// Of errors and other quantities that are never below zero.
    Geometric,
    /// Of quantities that may be, such as R2.
    Arithmetic,
}

impl Mean {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Mean::Geometric => "geometric mean",
            Mean::Arithmetic => "mean",
        }
    }

    /// What is better the higher it is may be negative, such as R2.
    pub fn of(lower_is_better: bool) -> Mean {
        if lower_is_better { Mean::Geometric } else { Mean::Arithmetic }
    }
}

/// Sums values up; none where none is defined.
pub fn summarise(values: impl IntoIterator<Item = f64>, of: Mean) -> Option<Summary> {
    let mut values: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let n = values.len() as f64;
    let plain = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - plain).powi(2)).sum::<f64>() / (n - 1.0);
    let sd = (values.len() > 1).then(|| variance.sqrt());
    let interval = interval(&values, of, LEVEL).map(|interval| (interval.low, interval.high));
    let (mean, of) = match of {
        Mean::Geometric if first > 0.0 => ((values.iter().map(|v| v.ln()).sum::<f64>() / n).exp(), Mean::Geometric),
        _ => (plain, Mean::Arithmetic),
    };
    Some(Summary { n: values.len(), median: median(&values), mean, of, sd, range: (first, last), interval })
}

/// The median of sorted values.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The median of some values, those left out that are not numbers; none of none.
pub fn median_of(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then(|| median(&values))
}

/// The median of values of which a lower one is better and of so many failures, which are worse than any of them.
pub fn median_with_failures(mut values: Vec<f64>, failed: usize) -> f64 {
    values.extend(std::iter::repeat_n(f64::INFINITY, failed));
    values.sort_by(f64::total_cmp);
    if values.is_empty() { f64::INFINITY } else { median(&values) }
}

/// Where a mean lies, as far as some values tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Their mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The t interval of a mean that misses it with probability `level`; none where there are fewer than [`FEWEST`] values,
/// or one of them has no place on its scale.
pub fn interval(values: &[f64], of: Mean, level: f64) -> Option<Interval> {
    let fits = |v: &f64| v.is_finite() && (of == Mean::Arithmetic || *v > 0.0);
    if values.len() < FEWEST || !values.iter().all(fits) {
        return None;
    }
    let there = |v: f64| if of == Mean::Geometric { v.ln() } else { v };
    let back = |v: f64| if of == Mean::Geometric { v.exp() } else { v };
    let scaled: Vec<f64> = values.iter().map(|v| there(*v)).collect();
    let n = scaled.len() as f64;
    let mean = scaled.iter().sum::<f64>() / n;
    let variance = scaled.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half = t_quantile(1.0 - level / 2.0, n - 1.0)? * (variance / n).sqrt();
    Some(Interval { mean: back(mean), low: back(mean - half), high: back(mean + half) })
}

/// A quantile of Student's t.
fn t_quantile(probability: f64, freedom: f64) -> Option<f64> {
    StudentsT::new(0.0, 1.0, freedom).ok().map(|t| t.inverse_cdf(probability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_what_may_be_negative_is_of_the_plain_mean() {
        let (low, high) = summarise([0.1, 0.2, 0.3, 0.4, -0.5], Mean::Arithmetic).unwrap().interval.unwrap();
        // Mean 0.1, standard deviation sqrt(0.125), t = 2.776.
        let half = 2.776 * (0.125f64 / 5.0).sqrt();
        assert!((low - (0.1 - half)).abs() < 1e-4 && (high - (0.1 + half)).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Abramowitz & Stegun 1964, table 26.10.
        for (p, freedom, expected) in [
            (0.975, 1.0, 12.706),
            (0.975, 4.0, 2.776),
            (0.975, 9.0, 2.262),
            (0.975, 1000.0, 1.962),
            (0.995, 9.0, 3.250),
        ] {
            let value = t_quantile(p, freedom).unwrap();
            assert!((value - expected).abs() < 6e-4, "{p}, {freedom}: {value}");
        }
    }

    #[test]
    fn an_interval_takes_five_seeds_and_positive_values() {
        assert_eq!(summarise([1.0, 2.0, 3.0, 4.0], Mean::Geometric).unwrap().interval, None);
        assert_eq!(summarise([-1.0, 2.0, 3.0, 4.0, 5.0], Mean::Geometric).unwrap().interval, None);
        let summary = summarise([2.0, 1.0, 4.0, 0.5, 1.0], Mean::Geometric).unwrap();
        let (low, high) = summary.interval.unwrap();
        let half = 2.776 * (1.3_f64 * 2f64.ln().powi(2) / 5.0).sqrt();
        let mean = 2f64.ln() / 5.0 * 2.0;
        assert!((low.ln() - (mean - half)).abs() < 0.02 && (high.ln() - (mean + half)).abs() < 0.02, "{low} {high}");
        assert_eq!((summary.median, summary.of), (1.0, Mean::Geometric));
        assert!((summary.mean - 2f64.powf(0.4)).abs() < 1e-12, "{}", summary.mean);
        assert!((summary.sd.unwrap() - 1.95f64.sqrt()).abs() < 1e-12, "{:?}", summary.sd);
        assert_eq!(summarise([3.0], Mean::Geometric).unwrap().sd, None);
    }

    #[test]
    fn values_that_are_not_defined_are_left_out() {
        assert_eq!(summarise([f64::NAN], Mean::Geometric), None);
        assert_eq!(summarise([f64::NAN, 3.0], Mean::Geometric).unwrap().n, 1);
    }
}
