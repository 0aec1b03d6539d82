//! One number of several seeds: the median, and what can honestly be said of its spread.
//!
//! Intervals of positive quantities are t on the log scale, for the geometric mean. Below five seeds none is given.

use crate::store::manifest::{Manifest, Quantity};

/// Fewest seeds for an interval.
pub const FEWEST: usize = 5;

/// Several values of one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Values that are defined.
    pub n: usize,
    /// Their median.
    pub median: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, with n - 1; none for a single value.
    pub sd: Option<f64>,
    /// Smallest and largest.
    pub range: (f64, f64),
    /// 95 % interval of the mean, where there are seeds enough and, for a geometric one, all values are positive.
    pub interval: Option<(f64, f64)>,
}

/// Which mean an interval is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mean {
    /// Of errors and other quantities that are never below zero.
    Geometric,
    /// Of quantities that may be, such as R2.
    Arithmetic,
}

/// What is better the higher it is may be negative, such as R2.
pub fn mean_of(metric: &Quantity) -> Mean {
    if metric.lower_is_better { Mean::Geometric } else { Mean::Arithmetic }
}

/// That of what a study ranks configurations by.
pub fn mean_of_objective(manifest: &Manifest) -> Mean {
    if manifest.objective.maximize { Mean::Arithmetic } else { Mean::Geometric }
}

/// Sums values up; none where none is defined.
pub fn summarise(values: impl IntoIterator<Item = f64>, of: Mean) -> Option<Summary> {
    let mut values: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let sd = (values.len() > 1).then(|| variance.sqrt());
    let (median, interval) = (median(&values), interval(&values, of));
    Some(Summary { n: values.len(), median, mean, sd, range: (first, last), interval })
}

/// The median of sorted values.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn interval(values: &[f64], of: Mean) -> Option<(f64, f64)> {
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
    let half = t_quantile(scaled.len() - 1) * (variance / n).sqrt();
    Some((back(mean - half), back(mean + half)))
}

/// The 0.975 quantile of Student's t, by the expansion of Cornish and Fisher; the few degrees of freedom where that
/// is rough come from a table. Source: Abramowitz & Stegun 1964, 26.7.5 and table 26.10.
fn t_quantile(freedom: usize) -> f64 {
    const FEW: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    if let Some(value) = FEW.get(freedom.saturating_sub(1)) {
        return *value;
    }
    let (z, n) = (1.959_964_f64, freedom as f64);
    let g1 = (z.powi(3) + z) / 4.0;
    let g2 = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let g3 = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + g1 / n + g2 / (n * n) + g3 / (n * n * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_what_may_be_negative_is_of_the_plain_mean() {
        let (low, high) = summarise([0.1, 0.2, 0.3, 0.4, -0.5], Mean::Arithmetic).unwrap().interval.unwrap();
        // Mean 0.1, standard deviation sqrt(0.125), t = 2.776.
        let half = 2.776 * (0.125f64 / 5.0).sqrt();
        assert!((low - (0.1 - half)).abs() < 1e-9 && (high - (0.1 + half)).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [(1, 12.706), (4, 2.776), (5, 2.571), (9, 2.262), (39, 2.023), (1000, 1.962)] {
            assert!((t_quantile(freedom) - expected).abs() < 2e-3, "{freedom}: {}", t_quantile(freedom));
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
        assert_eq!((summary.median, summary.mean), (1.0, 1.7));
        assert!((summary.sd.unwrap() - 1.95f64.sqrt()).abs() < 1e-12, "{:?}", summary.sd);
        assert_eq!(summarise([3.0], Mean::Geometric).unwrap().sd, None);
    }

    #[test]
    fn values_that_are_not_defined_are_left_out() {
        assert_eq!(summarise([f64::NAN], Mean::Geometric), None);
        assert_eq!(summarise([f64::NAN, 3.0], Mean::Geometric).unwrap().n, 1);
    }
}
