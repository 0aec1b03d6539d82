//! What a request needs of trials that have ended and its folder lacks, and these trials once more.
//!
//! A trial is run as its plan says, so what is made again has the bits of what was lost. That is looked at before it is
//! stored.

use super::held::Held;
use super::job::Keep;
use super::plan::{Plan, TrialPlan};
use super::schedule::Schedule;
use super::train::{Queue, TrainError, Workers};
use super::watch::{Event, Watch};
use crate::registry::{OnDevice, Registry};
use crate::spec::Save;
use crate::store::files::check_no_folder;
use crate::store::manifest::Manifest;
use crate::store::{Store, StoreError, SummaryRow, checkpoint, kept, ranking, weights_file};
use rayon::prelude::*;
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

/// Trials that have ended, by their places in the plan, of which something is not there.
#[derive(Debug, Default)]
pub struct Lacking {
    /// Those whose rows a table has lost.
    pub rows: Vec<usize>,
    /// Those that have their rows, and whose weights were not kept.
    pub weights: Vec<usize>,
}

impl Lacking {
    /// What is lacking of the trials that a schedule asked for; `known` are the rows of all that have ended.
    ///
    /// # Errors
    /// Where a table cannot be read, or weights cannot be written.
    pub fn of(
        schedule: &Schedule<'_>,
        store: &Store,
        manifest: &Manifest,
        known: &[SummaryRow],
    ) -> Result<Lacking, StoreError> {
        let plan = schedule.plan();
        let (tabled, without_history, keep) = (store.tabled(), store.without_history()?, Keep::by_place(plan));
        // Only what reads rows, or splits, is held against what needs no network.
        let compared = plan.content.is_some() || !plan.configurations.first.dataset.parts().is_empty();
        let lost = |trial: &TrialPlan| {
            let keep = keep(trial);
            without_history.contains(trial.id.as_str())
                || keep.traces && store.has_lost("traces.parquet")
                || keep.layers && store.has_lost("layers.parquet")
                || compared && store.has_lost("baselines.parquet")
        };
        let id = |place: &usize| plan.trials[*place].id.as_str();
        let tabled = schedule.places().filter(|place| tabled.contains_key(id(place)));
        let rows: Vec<usize> = tabled.filter(|place| lost(&plan.trials[*place])).collect();

        let again: HashSet<&str> = rows.iter().map(id).collect();
        let needed = needed(schedule, store, manifest, known).into_par_iter();
        let written = store.with_weights();
        let is_there = |trial: &str| written.contains(trial) || kept::are_whole(store.dir(), trial);
        let missing = needed.filter(|trial| !again.contains(trial) && !is_there(trial));
        let missing: HashSet<&str> = missing.collect();
        missing.iter().try_for_each(|trial| check_no_folder(store.dir(), &weights_file(trial)))?;
        let weights = schedule.places().filter(|place| missing.contains(id(place))).collect();
        Ok(Lacking { rows, weights })
    }

    /// Whether everything is there.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.weights.is_empty()
    }
}

/// The trials whose weights a request needs.
fn needed<'a>(schedule: &Schedule<'a>, store: &Store, manifest: &Manifest, known: &'a [SummaryRow]) -> Vec<&'a str> {
    let save = schedule.plan().spec.save;
    // An earlier request may have asked for more trials, and the best of these does as well.
    let best = ranking::best(known, manifest).filter(|_| save == Save::Best);
    if best.is_some_and(|best| kept::are_whole(store.dir(), &best.trial)) {
        return Vec::new();
    }
    let asked: HashSet<&str> = schedule.asked().map(|trial| trial.id.as_str()).collect();
    let ended = known.iter().filter(|row| asked.contains(row.trial.as_str()));
    kept::asked_for(save, ended, manifest).into_iter().map(|row| row.trial.as_str()).collect()
}

/// What is stored of a trial that was run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// All of it, in place of what is there.
    Rows,
    /// Its weights.
    Weights,
}

/// What became of trials that were to be trained again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Everything is there.
    All,
    /// It was stopped: rows are there, some weights are not.
    Rows,
    /// It was stopped: rows are still lost.
    Part,
}

/// Runs trials of a study again.
pub struct Again<'a> {
    /// The components.
    pub registry: &'a Registry,
    /// Workers.
    pub jobs: usize,
    /// Set where they are to stop.
    pub stop: &'a AtomicBool,
    /// Sees them go on.
    pub watch: &'a dyn Watch,
}

impl Again<'_> {
    /// Trains again what a schedule, all of whose trials have ended, lacks of them.
    ///
    /// # Errors
    /// Where a trial is not what is stored of it, which then stays, or cannot be stored.
    pub fn run<D: OnDevice>(
        &self,
        store: &mut Store,
        schedule: &Schedule<'_>,
        manifest: &Manifest,
    ) -> Result<Made, TrainError> {
        let known = store.rows(store.earlier.as_ref())?;
        let Lacking { rows, weights } = Lacking::of(schedule, store, manifest, &known)?;
        let earlier = store.earlier.clone().unwrap_or_else(|| manifest.clone());
        let held = Held::new(&known, &earlier, self.watch);
        let plan = schedule.plan();
        self.say(store, rows.len(), &lost(store));
        let mut made = if self.trials::<D>(plan, store, rows, Stored::Rows, &held)? { Made::Rows } else { Made::Part };
        if made == Made::Rows {
            let whose = if weights.len() == 1 { "its" } else { "their" };
            self.say(store, weights.len(), &format!("{whose} weights were not kept"));
            let all = self.trials::<D>(plan, store, weights, Stored::Weights, &held)?;
            made = if all { Made::All } else { Made::Rows };
        }
        held.tell();
        Ok(made)
    }

    fn say(&self, store: &Store, trials: usize, because: &str) {
        if trials > 0 {
            self.watch.told(&Event::Again { dir: store.dir(), trials, because });
        }
    }

    /// Runs the trials at some places and stores them. Says whether none was stopped.
    fn trials<D: OnDevice>(
        &self,
        plan: &Plan,
        store: &mut Store,
        places: Vec<usize>,
        stored: Stored,
        held: &Held<'_>,
    ) -> Result<bool, TrainError> {
        if places.is_empty() {
            return Ok(true);
        }
        let &Again { registry, jobs, stop, watch } = self;
        let trials: Vec<&TrialPlan> = places.iter().map(|place| &plan.trials[*place]).collect();
        watch.asked(trials.len(), plan.iterations(&trials));
        let by_place = Keep::by_place(plan);
        let keep = |trial: &TrialPlan| match stored {
            Stored::Rows => by_place(trial),
            Stored::Weights => Keep { traces: false, layers: false, weights: true },
        };
        let dir = store.dir().to_path_buf();
        let (mut left, jobs) = (places.len(), jobs.min(places.len()));
        let queue = Queue::new(places);
        let workers = Workers { plan, registry, dir: &dir, keep: &keep, jobs, stop, watch };
        workers.run::<D>(&queue, &mut |_, (record, weights)| {
            held.check(&record)?;
            watch.ended(&record);
            let trial = record.trial.clone();
            match stored {
                Stored::Rows => store.add(record, weights.as_ref()).map(|_| ())?,
                Stored::Weights => {
                    weights.iter().try_for_each(|weights| store.add_weights(&trial, weights))?;
                    checkpoint::forget(&dir, &trial)?;
                }
            }
            left -= 1;
            if left == 0 {
                queue.close();
            }
            Ok(())
        })?;
        Ok(left == 0)
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
