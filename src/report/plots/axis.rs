//! Axes: where a number lies between two ends, and the few ticks between them. Pictures are drawn from 0 to 1 in both
//! directions, so that ends may be any finite numbers, the smallest and the largest that there are among them.
//!
//! A tick is a whole number times a power of ten. There are as many as there is room for, whatever the ends are.

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// Ticks of an axis at most, unless it says otherwise.
const MOST: i64 = 6;

/// Shares of the largest number below which differences are not looked at: about the digits that a number has, less
/// those that a tick between two of them needs.
const FLAT: f64 = 1e-12;

/// An axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// The largest number beside 0 that it is measured in, so that neither a sum nor a ratio of numbers overflows.
    unit: f64,
    /// Its ends, in units; powers of ten on a logarithmic axis.
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Where its ticks lie, from 0 to 1, and what they say.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis with some air on both sides of the finite ones of these values; none where there are none.
    pub fn around(values: impl IntoIterator<Item = f64>) -> Option<Axis> {
        let (low, high) = ends(values)?;
        let unit = low.abs().max(high.abs());
        if unit == 0.0 {
            return Some(Axis::linear(-5e-4, 5e-4, MOST, false));
        }
        let (low, high) = (low / unit, high / unit);
        let air = match high - low > FLAT {
            true => 0.06 * (high - low),
            false if unit > 1e-3 => 0.5,
            // A flat line is no smaller than what one would look at closely.
            false => (5e-4 / unit).min(1.0),
        };
        let end = |share: f64| (share * unit).clamp(f64::MIN, f64::MAX);
        Some(Axis::linear(end(low - air), end(high + air), MOST, false))
    }

    /// An axis of nothing.
    pub fn empty() -> Axis {
        Axis::between(0.0, 1.0)
    }

    /// An axis from one finite number to a larger one.
    pub fn between(low: f64, high: f64) -> Axis {
        Axis::linear(low, high, MOST, false)
    }

    /// An axis of iterations, neurons or seeds, which has ticks at whole numbers alone.
    pub fn whole(low: f64, high: f64) -> Axis {
        Axis::linear(low, high, 8, true)
    }

    /// An axis of so many steps of time, the first of which is 0, with half a step on both sides.
    pub fn steps(count: usize) -> Axis {
        Axis::whole(-0.5, count.max(2) as f64 - 0.5)
    }

    /// An axis of powers of ten around the finite ones of these values that are larger than 0; none where there are none.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>) -> Option<Axis> {
        let (low, high) = ends(values.into_iter().filter(|value| *value > 0.0))?;
        let (low, high) = (low.log10() - 0.1, high.log10() + 0.1);
        let mut axis = Axis { unit: 1.0, low, high, logarithmic: true, ticks: Vec::new() };
        let (first, last) = (low.ceil() as i64, high.floor() as i64);
        // Every so many powers, as one would count them: 1, 2, 5, 10, 20, ...
        let strides = (0..).flat_map(|tens| [1, 2, 5].map(|digit| digit * 10i64.pow(tens)));
        let count = |stride: i64| last.div_euclid(stride) - (first - 1).div_euclid(stride);
        let stride = strides.into_iter().find(|stride| count(*stride) <= MOST).unwrap_or(1);
        let powers = (first..=last).filter(|power| power % stride == 0);
        axis.ticks = powers.map(|power| (axis.of(power as f64), text(1, power))).collect();
        Some(axis)
    }

    /// From `low` to `high`; with `whole` no tick has a fraction.
    fn linear(low: f64, high: f64, most: i64, whole: bool) -> Axis {
        let unit = low.abs().max(high.abs()).max(f64::MIN_POSITIVE * f64::EPSILON);
        let (mut low, mut high) = (low / unit, high / unit);
        if high - low <= FLAT {
            (low, high) = (low - FLAT, high + FLAT);
        }
        let mut axis = Axis { unit, low, high, logarithmic: false, ticks: Vec::new() };
        let width = (high - low).log10() + unit.log10();
        // A step of a hundredth of the width or less has too many ticks, one of ten widths at most one.
        let least = (width.floor() as i64 - 2).max(if whole { 0 } else { -323 });
        let steps = (least..=least.max(width.ceil() as i64 + 1)).flat_map(|e| [1, 2, 5].map(|digit| (digit, e)));
        axis.ticks = steps.into_iter().find_map(|step| axis.ticks_at(step, most)).unwrap_or_default();
        axis
    }

    /// The ticks at multiples of a digit times a power of ten, unless there are too many.
    fn ticks_at(&self, (digit, exponent): (i64, i64), most: i64) -> Option<Vec<(f64, String)>> {
        let step = number(digit, exponent) / self.unit;
        // What rounding takes from an end may not take its tick.
        let (first, last) = ((self.low / step - 1e-9).ceil(), (self.high / step + 1e-9).floor());
        if !(last - first < most as f64 && first.abs().max(last.abs()) < 1e15) {
            return None;
        }
        let tick = |i: i64| {
            let place = self.of(number(i * digit, exponent) / self.unit);
            place.is_finite().then(|| (place, text(i * digit, exponent)))
        };
        Some((first as i64..=last as i64).filter_map(tick).collect())
    }

    /// Where a number lies, 0 at the low end and 1 at the high one; none where it is on no axis, such as one that is not
    /// finite.
    pub fn at(&self, value: f64) -> Option<f64> {
        let place = self.of(if self.logarithmic { value.log10() } else { value / self.unit });
        place.is_finite().then_some(place)
    }

    fn of(&self, place: f64) -> f64 {
        (place - self.low) / (self.high - self.low)
    }

    /// What a picture is laid out by.
    pub fn direction(&self) -> Direction {
        Direction { ticks: self.ticks.iter().map(|(place, _)| *place).collect() }
    }

    /// What the tick at a place says.
    pub fn label(&self, place: f64) -> String {
        self.ticks.iter().find(|(other, _)| *other == place).map_or(String::new(), |(_, text)| text.clone())
    }
}

/// From one side of a picture, which is 0, to the other, which is 1, with ticks.
#[derive(Debug, Clone)]
pub struct Direction {
    ticks: Vec<f64>,
}

impl Ranged for Direction {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (low, high): (i32, i32)) -> i32 {
        low + (f64::from(high - low) * place).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..1.0
    }
}

/// Smallest and largest of the finite values.
pub fn ends(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    (low <= high).then_some((low, high))
}

/// A whole number times a power of ten, rounded once.
fn number(digits: i64, exponent: i64) -> f64 {
    format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN)
}

/// The same as text: plain where it is neither small nor large, else whichever is shorter.
fn text(digits: i64, exponent: i64) -> String {
    if digits == 0 {
        return "0".into();
    }
    let sign = if digits < 0 { "-" } else { "" };
    let all = digits.unsigned_abs().to_string();
    let kept = all.trim_end_matches('0');
    // The power of ten of the first digit.
    let power = exponent + all.len() as i64 - 1;
    let (first, rest) = kept.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let scientific = format!("{sign}{first}{point}{rest}e{power}");
    if !(-20..20).contains(&power) {
        return scientific;
    }
    let zeros = |count: i64| "0".repeat(count.max(0) as usize);
    let whole = power + 1;
    let plain = match whole {
        ..=0 => format!("{sign}0.{}{kept}", zeros(-whole)),
        whole if whole as usize >= kept.len() => format!("{sign}{kept}{}", zeros(whole - kept.len() as i64)),
        whole => format!("{sign}{}.{}", &kept[..whole as usize], &kept[whole as usize..]),
    };
    if (-3..5).contains(&power) || plain.len() <= scientific.len() { plain } else { scientific }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_the_numbers_that_a_person_would_write() {
        for (axis, expected) in [
            (Axis::between(-0.1, 1.1), vec!["0", "0.2", "0.4", "0.6", "0.8", "1"]),
            (Axis::whole(-0.5, 4.5), vec!["0", "1", "2", "3", "4"]),
            (Axis::whole(0.0, 1.0), vec!["0", "1"]),
            (Axis::whole(0.0, 250_000.0), vec!["0", "50000", "1e5", "1.5e5", "2e5", "2.5e5"]),
            (Axis::between(-1e308, 1e308), vec!["-1e308", "-5e307", "0", "5e307", "1e308"]),
            (Axis::between(0.0, 1.1e-320), vec!["0", "2e-321", "4e-321", "6e-321", "8e-321", "1e-320"]),
            (Axis::logarithmic([1e-3, 2.0]).unwrap(), vec!["0.001", "0.01", "0.1", "1"]),
            (Axis::logarithmic([1e-308, 1e308]).unwrap(), vec!["1e-200", "1", "1e200"]),
        ] {
            let found = labels(&axis);
            assert!(found.ends_with(&expected) && found.len() <= expected.len() + 1, "{found:?} for {expected:?}");
        }
        let texts =
            [(15, -1, "1.5"), (-2, -4, "-2e-4"), (12, 4, "1.2e5"), (1_700_000_002, 0, "1700000002"), (7, 0, "7")];
        texts.into_iter().for_each(|(digits, exponent, expected)| assert_eq!(text(digits, exponent), expected));
    }

    #[test]
    fn what_is_on_no_axis_has_no_place() {
        let axis = Axis::around([f64::NAN, 1.0, f64::INFINITY, 2.0]).unwrap();
        assert!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().all(|value| axis.at(value).is_none()));
        let axis = Axis::logarithmic([0.0, 1.0, 1e3]).unwrap();
        assert!([0.0, -1.0, f64::NAN, f64::INFINITY].into_iter().all(|value| axis.at(value).is_none()));
        assert!(Axis::around([f64::NAN]).is_none() && Axis::logarithmic([0.0, -1.0]).is_none());
    }

    proptest! {
        #[test]
        fn any_finite_values_have_places_and_a_few_ticks(values in prop::collection::vec(any::<u64>(), 1..5), near in 0u64..4) {
            // Neighbours of a number, too.
            let mut values: Vec<f64> = values.into_iter().map(f64::from_bits).collect();
            values.push(f64::from_bits(values[0].to_bits().wrapping_add(near)));
            for axis in [Axis::around(values.iter().copied()), Axis::logarithmic(values.iter().copied())].into_iter().flatten() {
                prop_assert!(axis.ticks.len() <= 12, "{:?}", axis);
                let texts: std::collections::HashSet<&str> = labels(&axis).into_iter().collect();
                prop_assert_eq!(texts.len(), axis.ticks.len(), "{:?}", &axis);
                prop_assert!(axis.ticks.iter().all(|(place, _)| (-1e-6..=1.0 + 1e-6).contains(place)), "{:?}", axis);
                let on = |value: &&f64| value.is_finite() && (!axis.logarithmic || **value > 0.0);
                for value in values.iter().filter(on) {
                    prop_assert!(axis.at(*value).is_some_and(|place| (0.0..=1.0).contains(&place)), "{} on {:?}", value, axis);
                }
            }
        }
    }
}
