//! Trials as they are stored, which those that are run again are held against.

use super::train::TrainError;
use super::watch::{Event, Watch};
use crate::store::SummaryRow;
use crate::store::agreement::relative;
use crate::store::environment::Tolerance;
use crate::store::manifest::Manifest;
use crate::store::record::Record;
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

/// What is stored of trials.
pub struct Held<'a> {
    rows: HashMap<&'a str, &'a SummaryRow>,
    /// What made them.
    earlier: &'a Manifest,
    tolerance: OnceCell<f64>,
    /// Trials that are apart by rounding, and how far they are at most.
    apart: Cell<(usize, f64)>,
    watch: &'a dyn Watch,
}

impl<'a> Held<'a> {
    /// Of rows that what a manifest describes has made.
    pub fn new(rows: &'a [SummaryRow], earlier: &'a Manifest, watch: &'a dyn Watch) -> Held<'a> {
        let rows = rows.iter().map(|row| (row.trial.as_str(), row)).collect();
        Held { rows, earlier, tolerance: OnceCell::new(), apart: Cell::default(), watch }
    }

    /// Refuses a trial that another binary, or another machine, made another one.
    ///
    /// # Errors
    /// Where it is not what is stored of it.
    pub fn check(&self, record: &Record) -> Result<(), TrainError> {
        let Some(row) = self.rows.get(record.trial.as_str()) else { return Ok(()) };
        let differs = |what: String| {
            let (trial, seed) = (&record.trial, record.seed);
            Err(TrainError::Differs(format!("trial {trial} (seed {seed}) was trained again, and {what}")))
        };
        if row.error != record.error {
            let said = |error: &Option<String>| error.as_ref().map_or("completed".into(), |e| format!("failed ({e})"));
            return differs(format!("it {} in trials.parquet, and {} now", said(&row.error), said(&record.error)));
        }
        let last = [row.loss].into_iter().chain(row.metrics.iter().copied()).flatten();
        let mut largest = 0.0_f64;
        for (old, new) in last.zip(record.loss.iter().chain(&record.metrics)) {
            let difference = relative(old, *new, old.abs().max(new.abs()));
            if difference > 0.0 && difference > *self.tolerance.get_or_init(|| self.tolerance()) {
                return differs(format!("trials.parquet has {old:?} where there is {new:?} now"));
            }
            largest = largest.max(difference);
        }
        if largest > 0.0 {
            let (trials, most) = self.apart.get();
            self.apart.set((trials + 1, most.max(largest)));
        }
        Ok(())
    }

    fn tolerance(&self) -> f64 {
        let tolerance = Tolerance::of(self.earlier);
        // A folder whose first run was killed does not say what made it.
        if let Tolerance::OtherBits(now) = &tolerance
            && !self.earlier.environment.binary.is_empty()
        {
            self.watch.told(&Event::OtherBits { then: &self.earlier.environment, now });
        }
        tolerance.relative()
    }

    /// Says that bits of two programs stand side by side now.
    pub fn tell(&self) {
        let (trials, most) = self.apart.get();
        if trials > 0 {
            self.watch.told(&Event::Apart { trials, most });
        }
    }
}
