//! Why a part of a split is empty, with the numbers that made it so.

use super::split::{Assigned, By, Part, Split};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::key::Placed;
use crate::spec::keys::SplitKeys;
use crate::spec::source::Span;

/// A split and what came of it.
pub struct Vacant<'a> {
    /// The split.
    pub split: &'a Split,
    /// What came of it.
    pub assigned: &'a Assigned,
    /// Whether samples are windows, so that rows are cut into parts.
    pub windows: bool,
    /// What asked for it.
    pub keys: &'a SplitKeys,
}

impl Vacant<'_> {
    /// Reports each part that was asked for and is empty.
    pub fn check(&self, found: &mut Diagnostics) {
        let empty = Part::ALL.into_iter().filter(|part| self.assigned.count(*part) == 0 && self.asked(*part));
        let before = found.list.len();
        for part in empty {
            let text = format!("the {} part is empty: {}", part.as_str(), self.why(part));
            found.push(Diagnostic::new(Problem::Conflict(text), self.place(part)).label("no sample is left for it"));
        }
        // What is asked for by shares and folds is there, so a column is left.
        let [_, validation, test] = Part::ALL.map(|part| self.assigned.count(part));
        if validation + test == 0 && found.list.len() == before {
            let (column, cut, what) = (self.column(), self.assigned.cut, self.what(self.assigned.cut));
            let text = format!("{column} says `train` for all {cut} {what}, so nothing is split off");
            found.push(Diagnostic::new(Problem::Conflict(text), self.place(Part::Train)));
        }
    }

    /// Whether a part is to have samples.
    fn asked(&self, part: Part) -> bool {
        let tested = part == Part::Test && self.split.fold.is_some();
        part == Part::Train || tested || self.split.share(part) > 0.0 || self.by_column() && self.places(part) > 0
    }

    fn why(&self, part: Part) -> String {
        let (places, straddling) = (self.places(part), self.assigned.straddling[part as usize]);
        let cut = match (self.split.fold, part) {
            (Some(_), Part::Train | Part::Validation) => self.assigned.cut - self.places(Part::Test),
            _ => self.assigned.cut,
        };
        let what = self.what(cut);
        let share = self.share(part);
        let is_none = |share: f64| (share * cut as f64).round() == 0.0;
        match (places, straddling, share) {
            (0, ..) if self.by_column() => {
                format!("{} says `{}` for none of {cut} {what}", self.column(), part.as_str())
            }
            (0, _, Some(share)) if is_none(share.value) => format!("{} of {cut} {what} is none", share.value),
            (0, ..) => format!("{} of {cut} {what}", self.takes(part)),
            (1, 0, _) => "its 1 row is the target of no window".into(),
            (_, 0, _) => format!("none of its {places} rows is the target of a window"),
            (_, 1, _) => "the 1 window with a target in it reads rows of a later part".into(),
            _ => format!("all {straddling} windows with a target in it read rows of a later part"),
        }
    }

    /// What so much of is cut into parts, in a word.
    fn what(&self, n: usize) -> &'static str {
        match (self.windows, n) {
            (true, 1) => "row",
            (true, _) => "rows",
            (false, 1) => "sample",
            (false, _) => "samples",
        }
    }

    /// How much the parts beside an empty one take.
    fn takes(&self, part: Part) -> String {
        let asked = |other: &Part| *other != part && self.places(*other) > 0;
        // The fold is out of the count already.
        let others =
            Part::ALL.into_iter().filter(asked).filter(|other| self.split.fold.is_none() || *other != Part::Test);
        let takes = others.map(|other| format!("the {} part takes {}", other.as_str(), self.places(other)));
        takes.collect::<Vec<_>>().join(", ")
    }

    /// What is to be underlined for a part.
    fn place(&self, part: Part) -> Span {
        let share = self.share(part).map(|share| share.at);
        let fold = self.keys.fold.as_ref().filter(|_| part == Part::Test).map(|fold| fold.at);
        let column = self.keys.column.as_ref().map(|column| column.at);
        share.or(fold).or(column).unwrap_or(self.split.span)
    }

    fn share(&self, part: Part) -> Option<&Placed<f64>> {
        match part {
            Part::Train => self.keys.train.as_ref(),
            Part::Validation => self.keys.validation.as_ref(),
            Part::Test => self.keys.test.as_ref(),
        }
    }

    fn by_column(&self) -> bool {
        self.split.by == By::Column
    }

    fn column(&self) -> String {
        format!("column `{}`", self.keys.column.as_ref().map_or("", |column| &column.value))
    }

    /// Rows or samples of a part, before windows are left out.
    fn places(&self, part: Part) -> usize {
        self.assigned.places[part as usize]
    }
}
