//! Units in which a network sees inputs and targets: fitted to rows that are trained on, and undone for people.

use super::DataError;
use crate::spec::key::Choice;
use serde::{Deserialize, Serialize};

/// `own = shift + factor * seen`: from what a network sees to a column's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Of the unit of the column.
    pub shift: f64,
    /// Likewise.
    pub factor: f64,
}

impl Default for Line {
    fn default() -> Self {
        Line { shift: 0.0, factor: 1.0 }
    }
}

impl Line {
    /// As a network sees it.
    pub fn apply(&self, own: f64) -> f64 {
        (own - self.shift) / self.factor
    }

    /// In its own unit.
    pub fn undo(&self, seen: f64) -> f64 {
        self.shift + self.factor * seen
    }
}

/// What is done to numbers before they are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transform {
    /// Nothing.
    #[default]
    None,
    /// The square root, which evens out the spread of counts (Bartlett 1936, Supplement to the Journal of the Royal
    /// Statistical Society 3(1), 68-78).
    Sqrt,
}

impl Choice for Transform {
    const WORDS: &'static [(&'static str, Transform)] = &[("none", Transform::None), ("sqrt", Transform::Sqrt)];
}

impl Transform {
    /// Of a number in its own unit; none where it has none.
    pub fn apply(self, own: f64) -> Option<f64> {
        match self {
            Transform::None => Some(own),
            Transform::Sqrt => (own >= 0.0).then(|| own.sqrt()),
        }
    }

    /// Back into the own unit.
    pub fn undo(self, seen: f64) -> f64 {
        match self {
            Transform::None => seen,
            // A network may predict a root below zero, which means the least that there is.
            Transform::Sqrt => seen.max(0.0).powi(2),
        }
    }
}

/// The lines of all columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Of the inputs.
    pub inputs: Vec<Line>,
    /// Of the targets.
    pub targets: Vec<Line>,
}

impl Scale {
    /// Makes sure that it is one of so many inputs and targets, for whoever stores scales and reads them again.
    ///
    /// # Errors
    /// Where it has lines of others, or lines that cannot be undone.
    pub fn check(&self, inputs: usize, targets: usize) -> Result<(), DataError> {
        let (own_inputs, own_targets) = (self.inputs.len(), self.targets.len());
        if (own_inputs, own_targets) != (inputs, targets) {
            let text = format!(
                "units of {own_inputs} inputs and {own_targets} targets, where there are {inputs} and {targets}"
            );
            return Err(DataError(text));
        }
        let can_be = |line: &&Line| line.shift.is_finite() && line.factor.is_finite() && line.factor != 0.0;
        match self.inputs.iter().chain(&self.targets).find(|line| !can_be(line)) {
            Some(Line { shift, factor }) => {
                Err(DataError(format!("units with the factor {factor} and the shift {shift}, which cannot be undone")))
            }
            None => Ok(()),
        }
    }
}

/// How lines are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// Mean 0 and standard deviation 1.
    Standard,
    /// From 0 to 1.
    MinMax,
    /// As they are.
    None,
}

impl Choice for Scaling {
    const WORDS: &'static [(&'static str, Scaling)] =
        &[("standard", Scaling::Standard), ("minmax", Scaling::MinMax), ("none", Scaling::None)];
}

impl Scaling {
    /// Fits the line of a column, which is called `name` in errors, to some of its values.
    ///
    /// # Errors
    /// Where they do not vary.
    pub fn fit(self, name: &str, values: impl Iterator<Item = f64> + Clone) -> Result<Line, DataError> {
        let line = match self {
            Scaling::None => return Ok(Line::default()),
            Scaling::Standard => {
                let (sum, n) = values.clone().fold((0.0, 0.0), |(sum, n), x| (sum + x, n + 1.0));
                let mean = sum / n;
                let variance = values.clone().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                Line { shift: mean, factor: variance.sqrt() }
            }
            Scaling::MinMax => {
                let ends = values.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
                Line { shift: ends.0, factor: ends.1 - ends.0 }
            }
        };
        let first = values.clone().next().unwrap_or(0.0);
        if values.clone().any(|x| x != first) {
            let fits = line.factor > 0.0 && line.factor.is_finite();
            return Ok(if fits { line } else { widest(line.shift, values) });
        }
        let rows = if values.count() == 1 { "the only training row" } else { "every training row" };
        Err(DataError(format!("{name} is {first} in {rows}, so it has no scale")))
    }
}

/// A line in whose unit the value farthest from `shift` is 1 away, where squares of differences are too small or too large.
fn widest(shift: f64, values: impl Iterator<Item = f64>) -> Line {
    let farthest = values.map(|x| (x - shift).abs()).fold(f64::MIN_POSITIVE, f64::max);
    Line { shift, factor: farthest.min(f64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_values_have_mean_zero_and_deviation_one_and_come_back() {
        let own = [3.0, 5.0, 10.0];
        let line = Scaling::Standard.fit("x", own.iter().copied()).unwrap();
        let seen = own.map(|x| line.apply(x));
        assert!(seen.iter().sum::<f64>().abs() < 1e-12);
        assert!((seen.iter().map(|x| x * x).sum::<f64>() / 3.0 - 1.0).abs() < 1e-12);
        assert!(own.iter().zip(seen).all(|(own, seen)| (line.undo(seen) - own).abs() < 1e-12));
    }

    #[test]
    fn a_column_that_varies_little_or_much_has_a_scale() {
        for own in [[1.0, 1.0 + f64::EPSILON, 1.0], [0.0, 1e-300, 0.0], [0.0, 5e-324, 0.0], [0.1, 0.1, 0.1f32 as f64]] {
            for scaling in [Scaling::Standard, Scaling::MinMax] {
                let line = scaling.fit("x", own.into_iter()).unwrap();
                let seen = own.map(|x| line.apply(x));
                assert!(seen.iter().all(|x| x.is_finite()) && seen.iter().any(|x| *x != seen[0]), "{own:?}: {seen:?}");
                assert!(own.iter().zip(seen).all(|(own, seen)| (line.undo(seen) - own).abs() <= own * f64::EPSILON));
            }
        }
    }

    #[test]
    fn a_column_that_does_not_vary_has_no_scale() {
        // The mean of equal numbers may differ from them in the last bit.
        let error = Scaling::Standard.fit("column `x`", [0.1; 7].into_iter()).unwrap_err();
        assert_eq!(error.0, "column `x` is 0.1 in every training row, so it has no scale");
        assert!(Scaling::None.fit("x", [0.1; 7].into_iter()).is_ok());
    }
}
