//! Workers: each trains one trial after the other on one thread; one writer stores what they finish.
//!
//! A trial depends on its plan alone, so neither the number of workers nor their order changes a row.

use super::job::{Finished, Job, Keep};
use super::plan::{Plan, TrialPlan};
use super::rule::SeedRule;
use super::runs::Executor;
use super::schedule::Schedule;
use super::watch::{Unwatched, Watch};
use crate::registry::{OnDevice, Registry};
use crate::store::{Store, StoreError};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};

/// Why a study could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Results cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No threads can be had.
    #[error("worker threads cannot be started: {0}")]
    Threads(String),
    /// A trial that was run again is not what is stored of it.
    #[error("{0}")]
    Differs(String),
    /// It was asked to stop.
    #[error("the trial was stopped")]
    Stopped,
}

/// Trains trials of the plan, from those at the places `due` on, until the schedule asks for no more, on `jobs` workers.
/// Says whether all that was asked for has ended.
pub fn train<D: OnDevice>(
    registry: &Registry,
    store: &mut Store,
    schedule: &mut Schedule<'_>,
    due: Vec<usize>,
    jobs: usize,
    stop: &AtomicBool,
    watch: &dyn Watch,
) -> Result<bool, TrainError> {
    let plan = schedule.plan();
    // With a rule more trials may follow than are due now.
    let most = if matches!(plan.rule, SeedRule::Fixed) { due.len() } else { plan.trials.len() };
    let (queue, keep, dir) = (Queue::new(due), Keep::by_place(plan), store.dir().to_path_buf());
    let workers = Workers { plan, registry, dir: &dir, keep: &keep, jobs: jobs.min(most), stop, watch };
    workers.run::<D>(&queue, &mut |place, (record, weights)| {
        let record = store.add(record, weights.as_ref())?;
        watch.ended(record);
        let due = schedule.ended(place, record);
        if !due.is_empty() {
            let more: Vec<&TrialPlan> = due.iter().map(|place| &plan.trials[*place]).collect();
            watch.asked(more.len(), plan.iterations(&more));
            queue.add(due);
        }
        if schedule.is_finished() {
            queue.close();
        }
        Ok(())
    })?;
    Ok(schedule.is_finished())
}

/// Threads that train trials of a plan.
pub(super) struct Workers<'a> {
    pub plan: &'a Plan,
    pub registry: &'a Registry,
    /// The result folder.
    pub dir: &'a Path,
    /// What is kept of a trial.
    pub keep: &'a (dyn Fn(&TrialPlan) -> Keep + Sync),
    /// How many there are.
    pub jobs: usize,
    pub stop: &'a AtomicBool,
    pub watch: &'a dyn Watch,
}

impl Workers<'_> {
    /// Trains the trials of a queue until it is closed, and hands each to `ended`, on this thread.
    pub fn run<D: OnDevice>(
        &self,
        queue: &Queue,
        ended: &mut dyn FnMut(usize, Finished) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let Workers { plan, registry, dir, keep, jobs, stop, watch } = *self;
        let pools = (0..jobs.max(1)).map(|_| pool(plan)).collect::<Result<Vec<_>, _>>()?;
        // A worker that is done waits where the disk is slower than all of them, so that records do not pile up in memory.
        let (to_writer, from_workers) = mpsc::sync_channel(pools.len());
        std::thread::scope(|scope| {
            // Whatever happens here, workers do not wait for ever.
            let _closing = Closing(queue);
            for pool in &pools {
                let to_writer = to_writer.clone();
                scope.spawn(move || {
                    pool.install(|| {
                        let mut built = None;
                        while let Some(place) = queue.next() {
                            let planned = &plan.trials[place];
                            let job = Job { plan, registry, planned, keep: keep(planned), dir: Some(dir), stop, watch };
                            let Some(result) = job.run::<D>(&mut built) else { return queue.close() };
                            if to_writer.send((place, result)).is_err() {
                                return;
                            }
                        }
                    });
                });
            }
            drop(to_writer);
            // The receiver ends with this line, so that no worker waits for it after an error.
            let written = from_workers.into_iter().try_for_each(|(place, finished)| ended(place, finished?));
            match &written {
                Ok(()) => {}
                // The flag is that of the whole process, and its other studies go on.
                Err(TrainError::Differs(_)) => queue.close(),
                Err(_) => {
                    stop.store(true, Ordering::Relaxed);
                    queue.close();
                }
            }
            written
        })
    }
}

/// Trials that wait for a worker, by their places in the plan.
pub(super) struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

/// Closes a queue when it goes.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Waiting {
    places: VecDeque<usize>,
    /// Whether no more will come.
    closed: bool,
}

impl Queue {
    pub fn new(places: Vec<usize>) -> Queue {
        let closed = places.is_empty();
        Queue { state: Mutex::new(Waiting { places: places.into(), closed }), changed: Condvar::new() }
    }

    /// The lock; what a thread that panicked left behind is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a trial; none once the queue is closed.
    fn next(&self) -> Option<usize> {
        let idle = |waiting: &mut Waiting| waiting.places.is_empty() && !waiting.closed;
        let mut waiting = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.closed { None } else { waiting.places.pop_front() }
    }

    fn add(&self, places: Vec<usize>) {
        self.lock().places.extend(places);
        self.changed.notify_all();
    }

    /// Nobody gets another trial.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Threads for one trial at a time. dfdx's products ask rayon for threads, so only the fused executor, which asks for
/// them itself, gets several.
fn pool(plan: &Plan) -> Result<rayon::ThreadPool, TrainError> {
    let fused = plan.configurations.list.iter().all(|one| one.executor == Executor::Fused);
    let threads = if fused { plan.spec.threads } else { 1 };
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    built.map_err(|error| TrainError::Threads(error.to_string()))
}

/// Trains one trial and leaves nothing on disk: its record and its weights, as far as they are to be kept.
pub fn once<D: OnDevice>(
    plan: &Plan,
    registry: &Registry,
    planned: &TrialPlan,
    keep: Keep,
) -> Result<Finished, TrainError> {
    let stop = AtomicBool::new(false);
    let job = Job { plan, registry, planned, keep, dir: None, stop: &stop, watch: &Unwatched };
    Ok(pool(plan)?.install(|| job.run::<D>(&mut None)).ok_or(TrainError::Stopped)??)
}
