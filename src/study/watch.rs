//! What a study says while it goes on, to whoever runs it.

use crate::program::ProgramError;
use crate::store::Note;
use crate::store::manifest::Environment;
use crate::store::record::Record;
use std::path::Path;

/// Sees a study go on. All of it may be left out.
pub trait Watch: Sync {
    /// So many trials more are asked for, of so many iterations together.
    fn asked(&self, _trials: usize, _iterations: u64) {}

    /// A trial did so many iterations more, and has this loss.
    fn advanced(&self, _iterations: usize, _loss: Option<f64>) {}

    /// A trial ended.
    fn ended(&self, _record: &Record) {}

    /// Something happened.
    fn told(&self, _event: &Event<'_>) {}
}

/// Looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// What happens to a study as a whole.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something was found when the folder was opened.
    Opened(&'a Note),
    /// Some of the trials that are asked for had ended before.
    Known {
        /// The folder.
        dir: &'a Path,
        /// How many.
        there: usize,
        /// How many are asked for.
        planned: usize,
    },
    /// Trials are trained from here on; whatever ends from now on is kept.
    Training,
    /// No trial is trained any more; tables and page follow.
    Trained,
    /// Trials that have ended are trained again.
    Again {
        /// The folder.
        dir: &'a Path,
        /// How many.
        trials: usize,
        /// Why.
        because: &'a str,
    },
    /// Another program, or another machine, made what is stored, so that rounding may differ.
    OtherBits {
        /// What made it.
        then: &'a Environment,
        /// What runs.
        now: &'a Environment,
    },
    /// Trials that were trained again differ by rounding from what is stored of them.
    Apart {
        /// How many do.
        trials: usize,
        /// The largest relative difference.
        most: f64,
    },
    /// A program did something wrong at its end.
    Program(&'a ProgramError),
}
