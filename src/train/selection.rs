//! Which parameters are kept, and when training ends before its time.

use super::machine::Machine;
use crate::spec::Select;

/// When nothing gets better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Looks in a row without a lower loss.
    pub looks: usize,
    /// How much lower it must be to count.
    pub min_change: f64,
    /// Whether the training loss is looked at, not that of the validation part.
    pub training: bool,
}

/// Losses of a look at the network: on the whole part that is trained on, and on the one that validates.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Look {
    /// On what is trained on, where it was needed.
    pub train: Option<f64>,
    /// On what validates, if there is such a part.
    pub validation: Option<f64>,
}

/// What the looks of a trial have shown so far.
#[derive(Debug, Default)]
pub struct Selection {
    /// Lowest loss, and the parameters that had it.
    best: Option<(f64, Vec<Vec<f32>>)>,
    /// The loss that the next looks have to be below.
    bar: Option<f64>,
    /// Looks since it was set.
    since: usize,
}

impl Selection {
    /// Takes a look into account, and keeps the parameters if they are the best so far and wanted.
    pub fn see(&mut self, look: Look, select: Select, patience: Option<Patience>, machine: &dyn Machine) {
        let loss = look.validation.or(look.train).filter(|loss| loss.is_finite());
        if let Some(loss) = loss.filter(|loss| select == Select::Best && self.beats(*loss)) {
            self.best = Some((loss, machine.parameters().into_iter().map(|(.., values)| values).collect()));
        }
        let Some(patience) = patience else { return };
        let loss = if patience.training { look.train } else { look.validation };
        match (loss, self.bar) {
            (Some(loss), None) if loss.is_finite() => (self.bar, self.since) = (Some(loss), 0),
            (Some(loss), Some(bar)) if loss < bar - patience.min_change => (self.bar, self.since) = (Some(loss), 0),
            _ => self.since += 1,
        }
    }

    /// Whether training is to end.
    pub fn gives_up(&self, patience: Option<Patience>) -> bool {
        patience.is_some_and(|patience| self.since >= patience.looks)
    }

    /// The best parameters, if they are better than those of a loss after the last update.
    pub fn take_better_than(&mut self, last: f64) -> Option<Vec<Vec<f32>>> {
        let (best, parameters) = self.best.take()?;
        (best < last || !last.is_finite()).then_some(parameters)
    }

    /// The best parameters so far.
    pub fn best(&self) -> Option<&[Vec<f32>]> {
        self.best.as_ref().map(|(_, parameters)| parameters.as_slice())
    }

    /// All that it knows beside parameters, to be stored.
    pub fn numbers(&self) -> Vec<f64> {
        let or_none = |loss: Option<f64>| loss.unwrap_or(f64::NAN);
        vec![or_none(self.best.as_ref().map(|(loss, _)| *loss)), or_none(self.bar), self.since as f64]
    }

    /// From what [`Selection::numbers`] gave, and the best parameters; none where they do not fit.
    pub fn restored(numbers: &[f64], best: Option<Vec<Vec<f32>>>) -> Option<Selection> {
        let [loss, bar, since] = *numbers else { return None };
        let there = |number: f64| (!number.is_nan()).then_some(number);
        if there(loss).is_some() && best.is_none() {
            return None;
        }
        Some(Selection { best: there(loss).zip(best), bar: there(bar), since: since as usize })
    }

    fn beats(&self, loss: f64) -> bool {
        self.best.as_ref().is_none_or(|(best, _)| loss < *best)
    }
}
