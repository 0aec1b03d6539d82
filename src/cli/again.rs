//! Trials that have ended and are trained again, because a request needs what its folder lacks of them.

use super::complain;
use super::progress::Progress;
use super::verify::{TOLERANCE, tolerance};
use crate::registry::{OnDevice, Registry};
use crate::store::agreement::relative;
use crate::store::manifest::Manifest;
use crate::store::record::Record;
use crate::store::{Store, SummaryRow};
use crate::study::again::{Again, Lacking, Stored};
use crate::study::{Schedule, TrainError};
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

/// How they are trained.
pub struct Training<'a> {
    /// The components.
    pub registry: &'a Registry,
    /// Workers.
    pub jobs: usize,
    /// Set where they are to stop.
    pub stop: &'a AtomicBool,
    /// Sees them go on.
    pub progress: &'a Progress,
    /// Whether nothing but errors is said.
    pub quiet: bool,
}

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Everything is there.
    All,
    /// It was stopped: rows are there, some weights are not.
    Rows,
    /// It was stopped: rows are still lost.
    Part,
}

impl Training<'_> {
    /// Trains again what a schedule, all of whose trials have ended, lacks of them.
    ///
    /// # Errors
    /// Where a trial is not what is stored of it, which then stays, or cannot be stored.
    pub fn again<D: OnDevice>(
        &self,
        store: &mut Store,
        schedule: &Schedule<'_>,
        manifest: &Manifest,
    ) -> Result<Made, TrainError> {
        let known = store.rows(store.earlier.as_ref())?;
        let Lacking { rows, weights } = Lacking::of(schedule, store, manifest, &known)?;
        let earlier = store.earlier.clone().unwrap_or_else(|| manifest.clone());
        let held = Held::new(&known, &earlier);
        let again = |store: &mut Store, places: Vec<usize>, stored: Stored| {
            let &Training { registry, jobs, stop, progress, .. } = self;
            let (plan, held) = (schedule.plan(), |record: &Record| held.check(record));
            let again = Again { plan, registry, jobs, stop, watch: progress, held: &held };
            if places.is_empty() { Ok(true) } else { again.run::<D>(store, places, stored) }
        };
        self.say(store, rows.len(), &lost(store));
        let mut made = if again(store, rows, Stored::Rows)? { Made::Rows } else { Made::Part };
        if made == Made::Rows {
            let whose = if weights.len() == 1 { "its" } else { "their" };
            self.say(store, weights.len(), &format!("{whose} weights were not kept"));
            made = if again(store, weights, Stored::Weights)? { Made::All } else { Made::Rows };
        }
        if !self.quiet {
            held.tell();
        }
        Ok(made)
    }

    fn say(&self, store: &Store, trials: usize, because: &str) {
        if trials > 0 && !self.quiet {
            let are = if trials == 1 { "trial is" } else { "trials are" };
            complain(&format!("{}: {trials} {are} trained again because {because}\n", store.dir().display()));
        }
    }
}

/// Why trials lack rows.
fn lost(store: &Store) -> String {
    match store.lost() {
        [] => "rows are missing in history.parquet".into(),
        [one] => format!("{one} is not there"),
        several => format!("{} are not there", several.join(", ")),
    }
}

/// Trials as they are stored, which those that are run again are held against.
struct Held<'a> {
    rows: HashMap<&'a str, &'a SummaryRow>,
    earlier: &'a Manifest,
    tolerance: OnceCell<f64>,
    /// Trials that are apart by rounding, and how far they are at most.
    apart: Cell<(usize, f64)>,
}

impl<'a> Held<'a> {
    fn new(rows: &'a [SummaryRow], earlier: &'a Manifest) -> Held<'a> {
        let rows = rows.iter().map(|row| (row.trial.as_str(), row)).collect();
        Held { rows, earlier, tolerance: OnceCell::new(), apart: Cell::default() }
    }

    /// Refuses a trial that another binary, or another machine, made another one.
    fn check(&self, record: &Record) -> Result<(), TrainError> {
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
        // A folder whose first run was killed does not say what made it.
        if self.earlier.environment.binary.is_empty() { TOLERANCE } else { tolerance(self.earlier) }
    }

    /// Says that bits of two programs stand side by side now.
    fn tell(&self) {
        let (trials, most) = self.apart.get();
        if trials > 0 {
            complain(&format!(
                "note: of the trials that were trained again {trials} differ by rounding, relatively {most:.1e} at most\n"
            ));
        }
    }
}
