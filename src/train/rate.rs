//! Learning-rate schedules: a factor on every learning rate, from iteration to iteration.

use crate::data::split::Part;
use crate::keys;
use crate::spec::key::Choice;
use std::sync::Arc;

/// A schedule of learning rates. It says the same for the same iteration and memory, whatever went before, so that a
/// trial that is put down goes on with the same rates.
pub trait RateSchedule: Send + Sync {
    /// The factor on every learning rate at a place in the training: finite, and not below 0.
    fn factor(&self, at: Moment<'_>) -> f64;

    /// The part whose loss it looks at, where it does.
    fn looks_at(&self) -> Option<Part> {
        None
    }

    /// Takes a loss that it looked at into what it remembers, which is empty when training begins.
    fn see(&self, _loss: f64, _memory: &mut Vec<f64>) {}
}

/// A place in the training, of which the warm-up is no part.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The iteration, from 0.
    pub iteration: usize,
    /// Iterations that are planned, at least 1.
    pub of: usize,
    /// What the schedule remembers.
    pub memory: &'a [f64],
}

impl Moment<'_> {
    /// How much of the training is done, 0 at the first iteration and below 1 at the last.
    fn done(self) -> f64 {
        self.iteration as f64 / self.of as f64
    }
}

/// The learning rates of a trial.
#[derive(Clone)]
pub struct Rates {
    /// The schedule.
    pub schedule: Arc<dyn RateSchedule>,
    /// Iterations of linear warm-up before it begins.
    pub warmup: usize,
    /// The rate that the factor is shown with; 1 where the optimizer has none.
    pub base: f64,
}

impl Rates {
    /// The factor at an iteration of so many.
    pub fn factor(&self, iteration: usize, iterations: usize, memory: &[f64]) -> f64 {
        let of = iterations.saturating_sub(self.warmup).max(1);
        let at = |iteration: usize| self.schedule.factor(Moment { iteration, of, memory });
        match iteration.checked_sub(self.warmup) {
            Some(iteration) => at(iteration),
            None => at(0) * (iteration + 1) as f64 / self.warmup as f64,
        }
    }
}

/// Rates stay as they are.
pub struct Steady;

impl RateSchedule for Steady {
    fn factor(&self, _: Moment<'_>) -> f64 {
        1.0
    }
}

keys! {
    /// Multiplied with `gamma` every so many iterations.
    pub struct Stepwise {
        /// iterations from one step to the next
        every: usize = at_least(1),
        /// what a step multiplies rates with
        gamma: f64 = number(Range::UNIT).or(0.1),
    }
}

impl RateSchedule for Stepwise {
    fn factor(&self, at: Moment<'_>) -> f64 {
        libm::pow(self.gamma, (at.iteration / self.every) as f64)
    }
}

keys! {
    /// Falls by the same ratio each iteration.
    pub struct Exponential {
        /// the factor at the end
        end: f64 = number(Range { min: f64::MIN_POSITIVE, ..Range::UNIT }).or(0.01),
    }
}

impl RateSchedule for Exponential {
    fn factor(&self, at: Moment<'_>) -> f64 {
        libm::pow(self.end, at.done())
    }
}

keys! {
    /// Falls along half a cosine.
    pub struct Cosine {
        /// the factor at the end
        end: f64 = number(Range::UNIT).or(0.0),
    }
}

impl RateSchedule for Cosine {
    fn factor(&self, at: Moment<'_>) -> f64 {
        along_cosine(1.0, self.end, at.done())
    }
}

/// From one value to another along half a cosine, `share` of the way.
fn along_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * share))
}

keys! {
    /// Rises to the whole rate and falls far below where it began. The defaults are PyTorch's: `div_factor` 25 and
    /// `final_div_factor` 1e4.
    pub struct OneCycle {
        /// share of the training in which rates rise
        rise: f64 = number(Range::UNIT).or(0.3),
        /// the factor at the start
        start: f64 = number(Range::UNIT).or(0.04),
        /// the factor at the end
        end: f64 = number(Range::UNIT).or(4e-6),
    }
}

impl RateSchedule for OneCycle {
    fn factor(&self, at: Moment<'_>) -> f64 {
        // Both ends are reached: iteration 0 has the first factor, the last iteration the last.
        let last = at.of as f64 - 1.0;
        let (top, now) = (self.rise * at.of as f64 - 1.0, at.iteration as f64);
        if now <= top {
            let share = if top > 0.0 { now / top } else { 1.0 };
            along_cosine(self.start, 1.0, share)
        } else {
            let share = if last > top.max(0.0) { (now - top.max(0.0)) / (last - top.max(0.0)) } else { 1.0 };
            along_cosine(1.0, self.end, share)
        }
    }
}

keys! {
    /// Multiplied with `gamma` when a loss has not become lower for a while.
    pub struct Plateau {
        /// what rates are multiplied with
        gamma: f64 = number(Range::UNIT).or(0.1),
        /// looks in a row without a lower loss after which they are; a look is at the start of an epoch, or as
        /// `validate_every` says
        patience: usize = at_least(1).or(10),
        /// how much lower a loss must be to count
        min_change: f64 = number(Range::NOT_NEGATIVE).or(0.0),
        /// the factor below which it does not fall
        least: f64 = number(Range::UNIT).or(0.0),
        /// `validation.loss`, or `loss`
        of: LossOf = one_of().or(LossOf(Part::Validation)),
    }
}

/// The loss of a part, as a key names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossOf(Part);

impl Choice for LossOf {
    const WORDS: &'static [(&'static str, LossOf)] =
        &[("validation.loss", LossOf(Part::Validation)), ("loss", LossOf(Part::Train))];
}

/// What a plateau remembers: the lowest loss, looks since then, and the factor.
const MEMORY: [f64; 3] = [f64::INFINITY, 0.0, 1.0];

impl RateSchedule for Plateau {
    fn factor(&self, at: Moment<'_>) -> f64 {
        at.memory.get(2).copied().unwrap_or(MEMORY[2])
    }

    fn looks_at(&self) -> Option<Part> {
        Some(self.of.0)
    }

    fn see(&self, loss: f64, memory: &mut Vec<f64>) {
        if memory.len() != MEMORY.len() {
            *memory = MEMORY.to_vec();
        }
        if loss < memory[0] - self.min_change {
            (memory[0], memory[1]) = (loss, 0.0);
        } else {
            memory[1] += 1.0;
        }
        if memory[1] >= self.patience as f64 {
            (memory[1], memory[2]) = (0.0, (memory[2] * self.gamma).max(self.least));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: impl RateSchedule + 'static, warmup: usize, of: usize) -> Vec<f64> {
        let rates = Rates { schedule: Arc::new(schedule), warmup, base: 1.0 };
        (0..of).map(|iteration| rates.factor(iteration, of, &[])).collect()
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near && found.len() == expected.len(), "{found:?} {expected:?}");
    }

    /// PyTorch 2's schedulers with base rate 1, worked out from their documented equations.
    #[test]
    fn factors_are_those_of_the_published_equations() {
        assert_near(&factors(Stepwise { every: 2, gamma: 0.1 }, 0, 5), &[1.0, 1.0, 0.1, 0.1, 0.01]);
        assert_near(&factors(Exponential { end: 0.0625 }, 0, 4), &[1.0, 0.5, 0.25, 0.125]);
        let half = 0.5 * (1.0 + std::f64::consts::FRAC_1_SQRT_2);
        assert_near(&factors(Cosine { end: 0.0 }, 0, 4), &[1.0, half, 0.5, 1.0 - half]);
        // OneCycleLR(max_lr=1, total_steps=10, pct_start=0.3, div_factor=25, final_div_factor=1e4).
        let cycle = factors(OneCycle { rise: 0.3, start: 0.04, end: 4e-6 }, 0, 10);
        assert_near(&[cycle[0], cycle[1], cycle[2], cycle[9]], &[0.04, 0.52, 1.0, 4e-6]);
        assert_near(&factors(Steady, 4, 6), &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_plateau_falls_after_so_many_looks_and_not_below_its_least() {
        let plateau = Plateau { gamma: 0.5, patience: 2, min_change: 0.1, least: 0.3, of: LossOf(Part::Train) };
        let mut memory = Vec::new();
        let mut seen = |loss: f64| {
            plateau.see(loss, &mut memory);
            plateau.factor(Moment { iteration: 0, of: 1, memory: &memory })
        };
        let losses = [1.0, 0.95, 0.5, 0.5, 0.45, f64::NAN, 0.6];
        assert_eq!(losses.map(&mut seen), [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.3]);
    }

    #[test]
    fn any_length_of_training_has_factors_from_0_to_1() {
        for of in [1, 2, 3, 7, 1000] {
            for rise in [0.0, 0.3, 1.0] {
                let cycle = factors(OneCycle { rise, start: 0.04, end: 0.0 }, 0, of);
                assert!(cycle.iter().all(|factor| (0.0..=1.0).contains(factor)), "{rise} {cycle:?}");
            }
        }
    }
}
