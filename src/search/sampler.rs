//! Samplers: which configurations of a sweep are tried, and in which order.

use crate::keys;
use crate::random::Stream;
use crate::spec::diagnostic::{Diagnostic, Problem};
use crate::spec::sweep::{Dimension, NumberRange, Sweep, Values};
use crate::spec::tree::{Node, Value};
use std::collections::HashSet;

/// Configurations that a study has at most.
const MOST: usize = 1_000_000;

/// Values that its configurations have together at most: all of them are kept.
const MOST_VALUES: usize = 2_000_000;

/// Refuses a study whose configurations have more values than can be kept.
fn within_limits(configurations: usize, sweep: &Sweep) -> Result<(), Diagnostic> {
    let keys = sweep.dimensions.len();
    match configurations.saturating_mul(keys) {
        values if values > MOST_VALUES => {
            let text = format!("{configurations} configurations of {keys} values each; at most {MOST_VALUES} values");
            Err(Diagnostic::new(Problem::Conflict(text), sweep.span))
        }
        _ => Ok(()),
    }
}

/// A value of each dimension.
pub type Point = Vec<Node>;

/// Chooses the configurations of a sweep.
pub trait Sampler {
    /// The configurations, each once. Asked for more trials, a sampler begins with the same ones.
    ///
    /// # Errors
    /// Where the sweep lacks what this sampler needs.
    fn points(&self, sweep: &Sweep) -> Result<Vec<Point>, Diagnostic>;
}

/// Every combination.
pub struct Grid;

keys! {
    /// Independent draws.
    pub struct Random {
        /// which configurations are drawn
        pub seed: u64 = seed().or(0),
    }
}

impl Sampler for Grid {
    fn points(&self, sweep: &Sweep) -> Result<Vec<Point>, Diagnostic> {
        if let Some((_, at)) = sweep.trials {
            let problem = Problem::Conflict("a grid has as many configurations as its lists make".into());
            let help = "take `trials` out, or say `sampler = \"random\"`".to_string();
            return Err(Diagnostic::new(problem, at).help(help));
        }
        let values = sweep.dimensions.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        let size = values.iter().try_fold(1usize, |size, list| size.checked_mul(list.len()));
        let Some(size) = size.filter(|size| *size <= MOST) else {
            let problem = Problem::Conflict(format!("the grid has more than {MOST} configurations"));
            return Err(Diagnostic::new(problem, sweep.span));
        };
        within_limits(size, sweep)?;
        // The last dimension changes first.
        let point = |i: usize| {
            let mut rest = i;
            let value = |list: &Vec<Node>| {
                let value = list[rest % list.len()].clone();
                rest /= list.len();
                value
            };
            let mut point: Point = values.iter().rev().map(value).collect();
            point.reverse();
            point
        };
        Ok((0..size).map(point).collect())
    }
}

/// The values of a dimension one by one.
fn listed(dimension: &Dimension) -> Result<Vec<Node>, Diagnostic> {
    match &dimension.values {
        Values::List(list) => Ok(list.clone()),
        Values::Variants(variants) => Ok(variants.iter().map(variant).collect()),
        Values::Range(range) => {
            let step = match (range.step, range.int, range.log) {
                (Some(step), ..) => step,
                (None, true, false) => 1.0,
                (None, ..) => {
                    let problem = Problem::MissingKey("step".into());
                    return Err(Diagnostic::new(problem, range.span)
                        .label("a grid needs a list, or a range with `step`")
                        .help("`sampler = \"random\"` draws from the whole range".to_string()));
                }
            };
            let count = steps(range, step);
            if count > MOST as f64 {
                let problem = Problem::OutOfRange { key: dimension.name.clone() };
                return Err(Diagnostic::new(problem, range.span).label(format!("more than {MOST} values")));
            }
            let mut values: Vec<Node> = (0..=count as usize).map(|i| range.node(at(range, step, i as f64))).collect();
            values.dedup();
            Ok(values)
        }
    }
}

fn variant(entry: &crate::spec::tree::Entry) -> Node {
    Node::new(Value::Text(entry.key.clone()), entry.key_span)
}

/// How often `step` fits into a range. Rounding may not lose the last value, nor an intermediate number overflow.
fn steps(range: &NumberRange, step: f64) -> f64 {
    let NumberRange { low, high, .. } = *range;
    let exact = match range.log {
        true if (high / low).is_finite() => (high / low).ln() / step.ln(),
        true => (high.ln() - low.ln()) / step.ln(),
        false if (high - low).is_finite() => (high - low) / step,
        false => high / step - low / step,
    };
    (exact + 1e-9).floor()
}

fn at(range: &NumberRange, step: f64, i: f64) -> f64 {
    // In two halves where the way to a value is longer than there are numbers.
    let first = (i / 2.0).floor();
    let value = match range.log {
        true if step.powf(i).is_finite() => range.low * step.powf(i),
        true => range.low * step.powf(first) * step.powf(i - first),
        false if (step * i).is_finite() => range.low + step * i,
        false => range.low + step * first + step * (i - first),
    };
    typed(value, if range.log { value } else { range.low.abs().max(value.abs()) }).min(range.high)
}

/// The number that a person would type: 0.3, not 0.30000000000000004, so that a trial of a range is the trial of the same
/// value set by hand, and a range that grows keeps the values it had. `size` is the largest number that the value was
/// computed with, of which 15 digits are right.
fn typed(value: f64, size: f64) -> f64 {
    let decimals = 14.0 - size.log10().floor();
    let text = match decimals {
        // A small number that is left of large ones has fewer digits that are right.
        decimals if (0.0..=340.0).contains(&decimals) => format!("{value:.0$}", decimals as usize),
        _ => format!("{value:.14e}"),
    };
    // The sum makes a zero of either sign the same.
    text.parse().unwrap_or(value) + 0.0
}

impl Sampler for Random {
    fn points(&self, sweep: &Sweep) -> Result<Vec<Point>, Diagnostic> {
        let Some((trials, trials_at)) = sweep.trials else {
            let problem = Problem::MissingKey("trials".into());
            return Err(Diagnostic::new(problem, sweep.span).label("how many configurations are drawn?"));
        };
        if trials > MOST {
            let problem = Problem::OutOfRange { key: "trials".into() };
            return Err(Diagnostic::new(problem, trials_at).label(format!("at most {MOST} configurations")));
        }
        within_limits(trials, sweep)?;
        sweep.dimensions.iter().try_for_each(countable)?;
        // A stream a dimension, so that adding one leaves the draws of the others as they were.
        let stream = |dimension: &Dimension| Stream::new(self.seed, &format!("sweep/{}", dimension.name));
        let mut streams: Vec<Stream> = sweep.dimensions.iter().map(stream).collect();
        let (mut points, mut seen) = (Vec::new(), HashSet::new());
        // A small space runs out of new configurations; then there are fewer. While one is left, as many draws in a row as
        // this do not miss it, even where it is a hundredth as likely as others.
        let mut missed = 0;
        for _ in 0..trials.saturating_mul(20) {
            let point: Point = sweep.dimensions.iter().zip(&mut streams).map(|(d, stream)| drawn(d, stream)).collect();
            if seen.insert(format!("{:?}", point.iter().map(|node| &node.value).collect::<Vec<_>>())) {
                points.push(point);
                missed = 0;
            } else {
                missed += 1;
            }
            if points.len() == trials || missed > 400 * points.len() + 10_000 {
                break;
            }
        }
        Ok(points)
    }
}

/// Refuses a range of more steps than there are whole numbers to draw.
fn countable(dimension: &Dimension) -> Result<(), Diagnostic> {
    let Values::Range(range @ NumberRange { step: Some(step), .. }) = &dimension.values else { return Ok(()) };
    if steps(range, *step) < i64::MAX as f64 {
        return Ok(());
    }
    let problem = Problem::OutOfRange { key: dimension.name.clone() };
    let help = "without `step` any number between the two is drawn".to_string();
    Err(Diagnostic::new(problem, range.span).label("more steps than can be counted").help(help))
}

fn drawn(dimension: &Dimension, stream: &mut Stream) -> Node {
    match &dimension.values {
        Values::List(list) => list[stream.below(list.len() as u64) as usize].clone(),
        Values::Variants(variants) => variant(&variants[stream.below(variants.len() as u64) as usize]),
        Values::Range(range) => range.node(match range.step {
            Some(step) => at(range, step, stream.below(steps(range, step) as u64 + 1) as f64),
            None => between(range, stream.unit()),
        }),
    }
}

/// Where in a range a number of [0, 1) falls. Whole numbers have a unit each, or their share of it on a log scale.
fn between(range: &NumberRange, unit: f64) -> f64 {
    let high = if range.int { range.high + 1.0 } else { range.high };
    let value = if range.log {
        libm::exp(libm::log(range.low) + unit * (libm::log(high) - libm::log(range.low)))
    } else if (high - range.low).is_finite() {
        range.low + unit * (high - range.low)
    } else {
        (1.0 - unit) * range.low + unit * high
    };
    let value = if range.int { value.floor() } else { value };
    value.clamp(range.low, range.high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::source::Span;

    const AT: Span = Span::NONE;

    fn range(low: f64, high: f64, log: bool, int: bool, step: Option<f64>) -> Dimension {
        let values = Values::Range(NumberRange { low, high, log, int, step, span: AT });
        Dimension { name: "x".into(), span: AT, values }
    }

    fn grid(dimension: &Dimension) -> Vec<f64> {
        listed(dimension).unwrap().iter().filter_map(Node::as_number).collect()
    }

    #[test]
    fn a_space_of_few_configurations_is_soon_exhausted_and_one_of_too_many_values_refused() {
        let kind = crate::spec::Component { kind: "random".into(), args: Default::default(), span: AT };
        let points = |trials: usize, dimensions: Vec<Dimension>| {
            Random { seed: 0 }
                .points(&Sweep::of(kind.clone(), Some((trials, AT)), dimensions))
                .map(|points| points.len())
        };
        for (high, int, count) in [(2.0, true, 2), (1.0 + f64::EPSILON, false, 2), (100.0, true, 100)] {
            assert_eq!(points(MOST, vec![range(1.0, high, false, int, None)]).unwrap(), count);
        }
        let many = || (0..200).map(|_| range(0.0, 1.0, false, false, None)).collect::<Vec<_>>();
        assert_eq!(points(100, many()).unwrap(), 100);
        assert!(points(10_001, many()).is_err());
    }

    #[test]
    fn a_range_with_steps_has_both_ends() {
        assert_eq!(grid(&range(0.0, 1.0, false, false, Some(0.1))).len(), 11);
        assert_eq!(grid(&range(1.0, 4.0, false, true, None)), [1.0, 2.0, 3.0, 4.0]);
        let decades = grid(&range(1e-4, 1e-1, true, false, Some(10.0)));
        assert_eq!(decades.len(), 4);
        assert!(decades.iter().zip([1e-4, 1e-3, 1e-2, 1e-1]).all(|(a, b)| (a / b - 1.0).abs() < 1e-12), "{decades:?}");
        assert_eq!(grid(&range(1.0, 100.0, true, true, Some(10.0))), [1.0, 10.0, 100.0]);
    }

    #[test]
    fn ranges_as_long_as_there_are_numbers_are_counted_and_stay_within_their_ends() {
        for (low, high, log, step, count) in [
            (-1e308, 1e308, false, 1e307, 21),
            (1e-308, 1e308, true, 10.0, 617),
            (0.0, 1e-320, false, 1e-321, 11),
            (1.0, 2.0, false, 1e308, 1),
            (5e-324, 1.0, true, 2.0, 1075),
        ] {
            let values = grid(&range(low, high, log, false, Some(step)));
            assert_eq!(values.len(), count, "{low} {high} {step}");
            assert!(values.is_sorted_by(|a, b| a < b) && values.iter().all(|x| (low..=high).contains(x)), "{values:?}");
        }
        let mut stream = Stream::new(1, "test");
        for step in [None, Some(1e300), Some(1e290)] {
            let wide = range(f64::MIN, f64::MAX, false, false, step);
            let drawn: Vec<f64> = (0..100).filter_map(|_| drawn(&wide, &mut stream).as_number()).collect();
            assert!(
                drawn.iter().all(|x| x.is_finite()) && drawn.iter().filter(|x| **x < 0.0).count() > 20,
                "{drawn:?}"
            );
        }
        for (high, step) in [(1.0, 1e-300), (f64::MAX, 1.0), (1e308, 5e-324)] {
            let endless = range(0.0, high, false, false, Some(step));
            assert!(listed(&endless).is_err() && countable(&endless).is_err());
        }
    }

    #[test]
    fn steps_give_the_numbers_that_a_person_would_type() {
        for (low, step, count) in [(0.001, 0.001, 1000), (0.1, 0.1, 30), (-0.7, 0.07, 100), (1e-7, 1e-7, 99)] {
            let values = grid(&range(low, low + step * count as f64, false, false, Some(step)));
            assert!(values.len() > count, "{values:?}");
            for value in &values[..count] {
                let digits =
                    format!("{value:e}").split('e').next().map_or(0, |mantissa| mantissa.trim_start_matches('-').len());
                assert!(digits <= 5, "{value}");
            }
        }
        assert_eq!(grid(&range(1e-6, 1.0, true, false, Some(10.0))), [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]);
    }

    #[test]
    fn draws_stay_in_range_and_reach_both_halves_on_their_scale() {
        for (low, high, log, int) in [(1e-4, 1e-1, true, false), (1.0, 3.0, false, true), (1.0, 8.0, true, true)] {
            let dimension = range(low, high, log, int, None);
            let mut stream = Stream::new(3, "test");
            let numbers: Vec<f64> = (0..2000).filter_map(|_| drawn(&dimension, &mut stream).as_number()).collect();
            assert!(numbers.iter().all(|x| (low..=high).contains(x) && (!int || x.fract() == 0.0)));
            let middle = if log { (low * high).sqrt() } else { (low + high) / 2.0 };
            let below = numbers.iter().filter(|x| **x < middle).count();
            assert!((500..1500).contains(&below), "{below} of 2000 below {middle}");
            assert!(!int || numbers.contains(&low) && numbers.contains(&high));
        }
    }
}
