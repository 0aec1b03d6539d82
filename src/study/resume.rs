//! How a long trial is kept while it runs: checkpoints by `[train] save_every`, and one when it is interrupted.

use crate::spec::Every;
use crate::store::StoreError;
use crate::store::checkpoint::{self, Checkpoint};
use crate::tensor::TensorError;
use crate::train::Trial;
use crate::train::trial::TrialState;
use std::path::Path;
use std::time::Instant;

/// The checkpoints of a trial under way.
pub struct Saves<'a> {
    /// The result folder; none for a trial that leaves nothing.
    dir: Option<&'a Path>,
    trial: &'a str,
    every: Option<Every>,
    /// Iteration and time of the last one.
    last: (usize, Instant),
    begun: Instant,
    /// Seconds before this process had it.
    before: f64,
}

impl<'a> Saves<'a> {
    /// Takes a trial to where its checkpoint stands, if there is one that fits.
    pub fn begin(
        dir: Option<&'a Path>,
        id: &'a str,
        every: Option<Every>,
        trial: &mut Trial,
    ) -> Result<Saves<'a>, SaveError> {
        let mut before = 0.0;
        if let Some(checkpoint) = dir.and_then(|dir| checkpoint::read(dir, id)) {
            let Checkpoint { iteration, seconds, floats, doubles } = checkpoint;
            let state =
                TrialState { iteration, floats: floats.into_iter().collect(), doubles: doubles.into_iter().collect() };
            if trial.restore(state)? {
                before = seconds;
            }
        }
        let now = Instant::now();
        Ok(Saves { dir, trial: id, every, last: (trial.iteration(), now), begun: now, before })
    }

    /// Iterations until the next look at `due`, at most `most`.
    pub fn stride(&self, most: usize) -> usize {
        match self.every {
            Some(Every::Iterations(n)) => most.min(n),
            Some(Every::Time(_)) | None => most,
        }
    }

    /// Seconds of training so far, those of earlier processes among them.
    pub fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    /// Saves the trial if it is time.
    pub fn look(&mut self, trial: &Trial) -> Result<(), SaveError> {
        let due = match self.every {
            Some(Every::Iterations(n)) => trial.iteration() - self.last.0 >= n,
            Some(Every::Time(time)) => self.last.1.elapsed() >= time,
            None => false,
        };
        if due { self.save(trial) } else { Ok(()) }
    }

    /// Saves the trial, unless that would be of no use.
    pub fn save(&mut self, trial: &Trial) -> Result<(), SaveError> {
        let Some(dir) = self.dir.filter(|_| trial.iteration() > self.last.0) else { return Ok(()) };
        let TrialState { iteration, floats, doubles } = trial.state()?;
        let (floats, doubles) = (floats.into_iter().collect(), doubles.into_iter().collect());
        checkpoint::write(dir, self.trial, &Checkpoint { iteration, seconds: self.seconds(), floats, doubles })?;
        self.last = (iteration, Instant::now());
        Ok(())
    }
}

/// Why a trial could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
