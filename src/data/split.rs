//! `[data.split]`: which samples are trained on, which choose the weights, and which are only tested on.
//!
//! Windows over one long record go by the row of their target, and one that would read rows of a part it may not know
//! (trained-on windows those of validation and test, validated ones those of test) belongs to none, whether the parts of
//! rows follow from shares, folds or a column. `vacant` says why a part is empty.

use crate::random::{Draws, Stream};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::key::Placed;
pub use crate::spec::keys::By;
use crate::spec::keys::SplitKeys;
use crate::spec::source::Span;
use std::ops::Range;

/// A part of the samples, in the order of what it may know of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Parameters and units are fitted to it.
    Train,
    /// Chooses weights and ends training.
    Validation,
    /// Looked at once, at the end.
    Test,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

    /// Its name in keys and columns.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Validation => "validation",
            Part::Test => "test",
        }
    }
}

/// The rows of a long record that samples read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Rows of the record.
    pub rows: usize,
    /// The rows of each sample; its target lies in the last.
    pub spans: Vec<Range<usize>>,
}

/// Which sample belongs to which part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The part of each sample; none where it is left out.
    pub samples: Vec<Option<Part>>,
    /// How much there was to cut: samples, or rows of a record, of which each may be the target of a window.
    pub cut: usize,
    /// How much of it each part got.
    pub places: [usize; 3],
    /// Windows that are left out because they would read rows of a part that they may not know, by the part of their
    /// target.
    pub straddling: [usize; 3],
}

impl Assigned {
    /// Samples of a part.
    pub fn count(&self, part: Part) -> usize {
        count(&self.samples)[part as usize]
    }
}

/// How often each part is there.
fn count(parts: &[Option<Part>]) -> [usize; 3] {
    Part::ALL.map(|part| parts.iter().filter(|other| **other == Some(part)).count())
}

/// A split.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// What parts depend on.
    pub by: By,
    validation: f64,
    test: f64,
    /// Share of all rows, from the first on, that is used; less than 1 in order alone.
    used: f64,
    /// How many folds there are, and which of them is tested on.
    pub fold: Option<(usize, usize)>,
    /// A seed of its own.
    pub seed: Option<u64>,
    /// Where it stands.
    pub span: Span,
}

impl Split {
    /// The split that keys ask for of so many samples, which overlap or not; none after a report.
    pub fn new(split: &Placed<SplitKeys>, samples: usize, overlapping: bool, found: &mut Diagnostics) -> Option<Split> {
        let Placed { value: keys, key: at, .. } = split;
        let before = found.list.len();
        let by = by(keys, *at, overlapping, found);
        let share = |share: &Option<Placed<f64>>| share.as_ref().map(|share| share.value);
        let (train, validation, test) =
            (share(&keys.train), share(&keys.validation).unwrap_or(0.0), share(&keys.test).unwrap_or(0.0));
        enough_for_folds(keys, samples, found);
        let fold = fold(keys, found);
        let refuse = |text: String, at: Span| Diagnostic::new(Problem::Conflict(text), at);
        let sum = validation + test + train.unwrap_or(0.0);
        let leaves_a_rest = train.is_some() && sum < 1.0 - 1e-9 && fold.is_none();
        if by == By::Column {
            let shares = [("train", &keys.train), ("validation", &keys.validation), ("test", &keys.test)];
            let places = shares.into_iter().filter_map(|(name, share)| Some((name, share.as_ref()?.key)));
            for (name, at) in places.chain(keys.folds.as_ref().map(|folds| ("folds", folds.key))) {
                found.push(refuse(format!("`{name}` means nothing where a column says the parts"), at));
            }
        } else if let Some(test) = keys.test.as_ref().filter(|_| fold.is_some()) {
            found.push(refuse("with `folds` the test part is the fold".into(), test.key));
        } else if let Some(train) = keys.train.as_ref().filter(|_| fold.is_some()) {
            found.push(refuse("with `folds` all that is left over is trained on".into(), train.key));
        } else if sum > 1.0 + 1e-9 || leaves_a_rest && by != By::Order {
            let label = "they sum up to 1, and `train` may be left out";
            let help = leaves_a_rest.then(|| "with `by = \"order\"` later rows may be left out".to_string());
            let text = format!("the shares of the parts sum up to {}", (sum * 1e6).round() / 1e6);
            found.push(refuse(text, *at).label(label).help(help));
        } else if validation + test == 0.0 && keys.folds.is_none() && keys.fold.is_none() {
            let help = "give `validation`, `test` or `folds`, or a `column`".to_string();
            found.push(refuse("`[data.split]` splits nothing off".into(), *at).help(help));
        }
        let used = if leaves_a_rest { sum } else { 1.0 };
        let split = Split { by, validation, test, used, fold, seed: keys.seed, span: *at };
        (found.list.len() == before).then_some(split)
    }

    /// Whether it differs from seed to seed.
    pub fn is_random(&self) -> bool {
        self.by == By::Random
    }

    /// The split in words.
    pub fn describe(&self) -> String {
        let by = match self.by {
            By::Random => "at random",
            By::Order => "in order",
            By::Column => "by a column",
        };
        match self.fold {
            Some((folds, fold)) => format!("{by}, fold {fold} of {folds}"),
            None if self.used < 1.0 => format!("{by}, the first {} % alone", (self.used * 1e4).round() / 1e2),
            None => by.into(),
        }
    }

    /// The share of a part among what no fold takes; 0 for the training part, which has the rest.
    pub fn share(&self, part: Part) -> f64 {
        match part {
            Part::Train => 0.0,
            Part::Validation => self.validation,
            Part::Test => self.test,
        }
    }

    /// The parts of `n` samples. `labels` is what a column says, of each sample or, where there is a `reach`, of each row.
    pub fn assign(&self, n: usize, reach: Option<&Reach>, labels: Option<&[Part]>, seed: u64) -> Assigned {
        let cut = reach.map_or(n, |reach| reach.rows);
        let places: Vec<Option<Part>> = match (self.by, labels) {
            (By::Column, Some(labels)) => labels.iter().copied().map(Some).collect(),
            (By::Random, _) => {
                let mut parts = vec![None; cut];
                let order = Stream::new(seed, "split").permutation(cut);
                order.into_iter().enumerate().for_each(|(place, sample)| parts[sample] = self.part(place, cut));
                parts
            }
            _ => (0..cut).map(|place| self.part(place, cut)).collect(),
        };
        let counts = count(&places);
        let Some(reach) = reach else { return Assigned { samples: places, cut, places: counts, straddling: [0; 3] } };
        let own = |span: &Range<usize>| places[span.clone()].last().copied().flatten();
        let knows = |span: &Range<usize>| places[span.clone()].iter().all(|part| *part <= own(span));
        let all: Vec<Option<Part>> = reach.spans.iter().map(own).collect();
        let samples: Vec<Option<Part>> = reach.spans.iter().map(|span| own(span).filter(|_| knows(span))).collect();
        let (all, left) = (count(&all), count(&samples));
        Assigned { samples, cut, places: counts, straddling: [0, 1, 2].map(|part| all[part] - left[part]) }
    }

    /// The part of a place among `n`; none where it is left out.
    fn part(&self, place: usize, n: usize) -> Option<Part> {
        let share = |share: f64, of: usize| (share * of as f64).round() as usize;
        let (place, n) = match self.fold {
            Some((folds, fold)) => {
                let (first, last) = (fold * n / folds, (fold + 1) * n / folds);
                if (first..last).contains(&place) {
                    return Some(Part::Test);
                }
                (if place < first { place } else { place - (last - first) }, n - (last - first))
            }
            None => (place, n),
        };
        let end = share(self.used, n);
        let test = end - share(self.test, n).min(end);
        match place {
            place if place >= end => None,
            place if place >= test => Some(Part::Test),
            place if place >= test - share(self.validation, n).min(test) => Some(Part::Validation),
            _ => Some(Part::Train),
        }
    }
}

fn by(keys: &SplitKeys, at: Span, overlapping: bool, found: &mut Diagnostics) -> By {
    let by = match &keys.by {
        Some(by) => by.value,
        None if keys.column.is_some() => By::Column,
        None if overlapping => By::Order,
        None => By::Random,
    };
    let span = keys.by.as_ref().map_or(at, |by| by.at);
    let mut refuse = |text: &str, label: &str| {
        found.push(Diagnostic::new(Problem::Conflict(text.into()), span).label(label));
    };
    match (by, keys.column.is_some()) {
        (By::Column, false) => refuse("which column says the parts?", "`column` is needed here"),
        (By::Random | By::Order, true) => refuse("`column` belongs to `by = \"column\"`", ""),
        (By::Random, _) if overlapping => {
            let label = "windows overlap, so targets of the test part would be trained on; say \"order\"";
            refuse("a random split of windows leaks", label);
        }
        _ => {}
    }
    by
}

/// Refuses more folds than there are samples, whichever of them is tested on: some would be empty.
fn enough_for_folds(keys: &SplitKeys, samples: usize, found: &mut Diagnostics) {
    let Some(Placed { value: folds, at, .. }) = keys.folds.as_ref().filter(|folds| folds.value > samples) else {
        return;
    };
    let (text, label) = match samples {
        0 | 1 => (format!("{folds} folds of {samples} sample"), "one is tested on, and something is to be trained on"),
        _ => (format!("{folds} folds of {samples} samples: at most {samples}"), "some folds would be empty"),
    };
    found.push(Diagnostic::new(Problem::Conflict(text), *at).label(label));
}

fn fold(keys: &SplitKeys, found: &mut Diagnostics) -> Option<(usize, usize)> {
    match (&keys.folds, &keys.fold) {
        (Some(folds), Some(fold)) if fold.value < folds.value => Some((folds.value, fold.value)),
        (Some(folds), Some(fold)) => {
            let problem = Problem::OutOfRange { key: "fold".into() };
            let label = format!("expected a whole number below {}", folds.value);
            found.push(Diagnostic::new(problem, fold.at).label(label));
            None
        }
        (Some(folds), None) => {
            let problem = Problem::MissingKey("fold".into());
            let help = "to go through all of them: [sweep.over] \"data.split.fold\" = [0, 1, ...]".to_string();
            found.push(Diagnostic::new(problem, folds.key).label("which of them is tested on?").help(help));
            None
        }
        (None, Some(fold)) => {
            let problem = Problem::MissingKey("folds".into());
            found.push(Diagnostic::new(problem, fold.key).label("one of how many?"));
            None
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(by: By, validation: f64, test: f64, fold: Option<(usize, usize)>) -> Split {
        Split { by, validation, test, used: 1.0, fold, seed: None, span: Span::NONE }
    }

    #[test]
    fn shares_are_met_and_every_sample_has_one_part() {
        let parts = split(By::Random, 0.2, 0.3, None).assign(50, None, None, 7).samples;
        let count = |part| parts.iter().filter(|other| **other == Some(part)).count();
        assert_eq!(Part::ALL.map(count), [25, 10, 15]);
        assert_ne!(parts, split(By::Random, 0.2, 0.3, None).assign(50, None, None, 8).samples);
    }

    #[test]
    fn folds_test_every_sample_once() {
        for by in [By::Random, By::Order] {
            let mut tested = [0; 23];
            for fold in 0..5 {
                let parts = split(by, 0.25, 0.0, Some((5, fold))).assign(23, None, None, 3).samples;
                let test = |part: &Option<Part>| usize::from(*part == Some(Part::Test));
                tested.iter_mut().zip(&parts).for_each(|(n, part)| *n += test(part));
                assert!(parts.contains(&Some(Part::Validation)) && parts.contains(&Some(Part::Train)));
            }
            assert_eq!(tested, [1; 23], "{by:?}");
        }
    }

    #[test]
    fn a_window_lies_in_the_part_of_its_target_and_reads_no_part_that_it_may_not_know() {
        let spans: Vec<Range<usize>> = (0..16).map(|i| i..i + 5).collect();
        let reach = Reach { rows: 20, spans };
        let parts = split(By::Order, 0.2, 0.2, None).assign(16, Some(&reach), None, 0).samples;
        let expected = |i: usize| match i + 4 {
            0..12 => Part::Train,
            12..16 => Part::Validation,
            _ => Part::Test,
        };
        assert!(parts.iter().enumerate().all(|(i, part)| *part == Some(expected(i))), "{parts:?}");
        // With an earlier origin the same rule holds, and later rows belong to nothing.
        let early = Split { used: 0.5, ..split(By::Order, 0.2, 0.0, None) };
        let parts = early.assign(16, Some(&reach), None, 0).samples;
        let expected =
            |i: usize| [Some(Part::Train), Some(Part::Validation), None][usize::from(i >= 2) + usize::from(i >= 6)];
        assert!(parts.iter().enumerate().all(|(i, part)| *part == expected(i)), "{parts:?}");
        // The first fold is tested on, so windows after it that reach back into it are not trained on.
        let parts = split(By::Order, 0.0, 0.0, Some((2, 0))).assign(16, Some(&reach), None, 0).samples;
        assert_eq!(&parts[5..11], [Some(Part::Test), None, None, None, None, Some(Part::Train)]);
    }
}
