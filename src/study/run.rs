//! A study from its file to its result folder.

use super::again::{Again, Lacking, Made};
use super::configuration::content_of;
use super::differences::differences;
use super::identity;
use super::manifest::{Asked, manifest, timestamp};
use super::options::{Options, Refused, StudyError, processors};
use super::plan::{Plan, TrialPlan};
use super::runs::Runs;
use super::schedule::Schedule;
use super::train::{TrainError, train};
use super::watch::{Event, Watch};
use crate::program::Cache;
use crate::registry::{Crate, OnDevice, Registry};
use crate::report;
use crate::spec::component::Info;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::source::{Sources, Span};
use crate::spec::{self, Save, Spec};
use crate::store::environment::environment;
use crate::store::manifest::{Environment, Manifest, StudyStatus};
use crate::store::tables::{self, Tables};
use crate::store::{PLOTS, Store, StoreError, SummaryRow, manifest_of, settled};
use crate::tensor::{Backend, DeviceError, DeviceName};
use dfdx::prelude::Cpu;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

/// An experiment that was read and checked, and that can be run.
pub struct Study {
    file: PathBuf,
    dir: PathBuf,
    options: Options,
    notes: Vec<String>,
    work: Work,
}

/// What there is to do.
enum Work {
    /// Nothing: what is asked for is what the folder was asked for last, and all of it is there. Then nothing is planned,
    /// which takes long for a hundred thousand configurations, and nothing is written.
    None(Box<(Manifest, Vec<SummaryRow>)>),
    /// What is planned, of these components.
    Some(Box<(Plan, Registry)>),
}

/// A study that was run.
#[derive(Debug)]
pub struct Ran {
    /// Its result folder.
    pub dir: PathBuf,
    /// What the folder says of it.
    pub manifest: Manifest,
    /// The trials that were asked for and have ended.
    pub rows: Vec<SummaryRow>,
    /// How it ended.
    pub end: End,
    /// The page, where one was made.
    pub page: Option<PathBuf>,
}

/// How a study ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There was nothing to do.
    There,
    /// Everything that was asked for has ended.
    Finished,
    /// It was stopped; the same study goes on.
    Interrupted,
}

impl Ran {
    /// The tables of its folder, as frames.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn tables(&self) -> Result<Tables, StoreError> {
        Tables::read(&self.dir)
    }
}

impl Study {
    /// Reads and checks an experiment, with the components of some crates beside the built-in ones. Computes nothing.
    ///
    /// # Errors
    /// Where anything is wrong with it: all of that, with its places.
    pub fn new(file: &Path, options: Options, crates: &[Crate]) -> Result<Study, StudyError> {
        open_device(options.device)?;
        let (mut sources, mut notes) = (Sources::default(), Vec::new());
        let read = read(file, &options, crates, &mut sources, &mut notes);
        let (dir, work) = read.map_err(|found| Box::new(Refused { found, notes: notes.clone(), sources }))?;
        Ok(Study { file: file.into(), dir, options, notes, work })
    }

    /// The experiment file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The result folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What a person should know of it.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// In what it differs from the study that its folder holds, in words.
    pub fn differences(&self) -> Vec<String> {
        match (&self.work, manifest_of(&self.dir)) {
            (Work::Some(planned), Ok(manifest)) => differences(&manifest, &planned.0, &planned.1),
            _ => Vec::new(),
        }
    }

    /// Trains what its folder lacks, stores it, and makes the page. `watch` sees it go on; it is put down soon after
    /// `stop` is set, and the same study goes on another time.
    ///
    /// # Errors
    /// Where the folder cannot be opened for it, or something cannot be stored. A trial that fails is no error but a row.
    pub fn run(&self, watch: &dyn Watch, stop: &AtomicBool) -> Result<Ran, StudyError> {
        let (plan, registry) = match &self.work {
            Work::Some(planned) => (&planned.0, &planned.1),
            Work::None(there) => {
                let (manifest, rows) = (there.0.clone(), there.1.clone());
                let planned = manifest.planned;
                watch.told(&Event::Known { dir: &self.dir, there: planned, planned });
                return Ok(self.there(manifest, rows));
            }
        };
        let run = Run { study: self, plan, registry, watch, stop };
        match self.options.device {
            DeviceName::Cpu => run.run::<Cpu>(),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda => run.run::<dfdx::prelude::Cuda>(),
            #[cfg(not(feature = "cuda"))]
            DeviceName::Cuda => Err(DeviceError::NotBuilt.into()),
        }
    }

    fn there(&self, manifest: Manifest, rows: Vec<SummaryRow>) -> Ran {
        let page = Some(self.dir.join(crate::store::PAGE));
        Ran { dir: self.dir.clone(), manifest, rows, end: End::There, page }
    }
}

fn open_device(device: DeviceName) -> Result<(), DeviceError> {
    match device {
        DeviceName::Cpu => Cpu::open().map(|_| ()),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => dfdx::prelude::Cuda::open().map(|_| ()),
        #[cfg(not(feature = "cuda"))]
        DeviceName::Cuda => Err(DeviceError::NotBuilt),
    }
}

/// The folder of an experiment, and what there is to do.
fn read(
    file: &Path,
    options: &Options,
    crates: &[Crate],
    sources: &mut Sources,
    notes: &mut Vec<String>,
) -> Result<(PathBuf, Work), Diagnostics> {
    let registry = Registry::beside(crates, &[file], &options.plugins, sources)?;
    let spec = spec::read(file, &options.overrides, &registry, sources)?;
    notes.extend(registry.unusable(sources));
    let dir = options.out.clone().unwrap_or_else(|| options.results.join(&spec.name));
    let runs = Runs { executor: options.executor(), device: options.device };
    if !options.opening.fresh
        && !options.opening.retry_failed
        && let Some(there) = there(&dir, &spec, &registry, sources, runs)?
    {
        return Ok((dir, Work::None(Box::new(there))));
    }
    let plan = Plan::new(spec, &registry, sources, runs.executor, runs.device)?;
    notes.extend(plan.configurations.notes.iter().cloned());
    plan.fits(options.jobs)?;
    if options.allow_programs {
        registry.allow_programs(cache(&plan, &registry, notes));
    } else {
        refuse_programs(&plan, &registry)?;
    }
    Ok((dir, Work::Some(Box::new((plan, registry)))))
}

/// Manifest and trials of a folder that has all that is asked for. What cannot be read is left to be reported by those
/// who open it.
fn there(
    dir: &Path,
    spec: &Spec,
    registry: &Registry,
    sources: &Sources,
    runs: Runs,
) -> Result<Option<(Manifest, Vec<SummaryRow>)>, Diagnostics> {
    let content = content_of(spec, registry, sources)?;
    let Some(request) = identity::request(spec, content, registry, runs) else { return Ok(None) };
    Ok(settled(dir, &request, spec.save).ok().flatten())
}

/// Where what programs give is kept, if a dataset is a program's.
fn cache(plan: &Plan, registry: &Registry, notes: &mut Vec<String>) -> Option<Arc<Cache>> {
    if !plan.programs(registry).into_iter().any(|(info, _)| registry.datasets.contains_key(&info.name)) {
        return None;
    }
    match Cache::of_user() {
        Ok(cache) => Some(Arc::new(cache)),
        Err(why) => {
            notes.push(format!("what programs give is not kept, so that each trial asks again: {why}"));
            None
        }
    }
}

/// Programs can do whatever their user can, so they are started only where that was said.
fn refuse_programs(plan: &Plan, registry: &Registry) -> Result<(), Diagnostics> {
    let refused = |(info, at): (&Info, Span)| {
        let text = format!("`{}` is a program, and programs run only with `--allow-programs`", info.name);
        let file = info.origin.name().unwrap_or_default();
        Diagnostic::new(Problem::Conflict(text), at)
            .label("this would start a program")
            .help(format!("`runner show {}` says which; add `--allow-programs` if you trust {file}", info.name))
    };
    let found = Diagnostics { list: plan.programs(registry).into_iter().map(refused).collect() };
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// A study that is being run.
struct Run<'a> {
    study: &'a Study,
    plan: &'a Plan,
    registry: &'a Registry,
    watch: &'a dyn Watch,
    stop: &'a AtomicBool,
}

impl Run<'_> {
    fn run<D: OnDevice>(&self) -> Result<Ran, StudyError> {
        let (Study { dir, options, file, .. }, plan) = (self.study, self.plan);
        let store = &mut Store::open(dir, &plan.identity, options.opening).map_err(StudyError::Folder)?;
        store.notes.iter().for_each(|note| self.watch.told(&Event::Opened(note)));
        let known = store.rows(store.earlier.as_ref()).map_err(TrainError::from)?;
        let mut schedule = Schedule::new(plan, &known);
        let due = schedule.begin();
        let asked = Asked { file, command: &options.command };
        let manifest = manifest(asked, plan, self.registry, store, &schedule);
        if due.len() < manifest.planned {
            let (there, planned) = (manifest.planned - due.len(), manifest.planned);
            self.watch.told(&Event::Known { dir, there, planned });
        }
        let lacking = Lacking::of(&schedule, store, &manifest, &known).map_err(StudyError::Folder)?;
        if let Some(earlier) = store.earlier.as_ref().filter(|_| due.is_empty() && lacking.is_empty())
            && store.is_settled(&|config, seed| plan.rank(config, seed))
            && (nothing_new(&manifest, earlier) || asks_less(&manifest, earlier, known.len()))
        {
            let rows = rows(&schedule, store, earlier).map_err(TrainError::from)?;
            return Ok(self.study.there(earlier.clone(), rows));
        }
        // Nothing has been computed yet, so that this is still the request's fault.
        store.write_manifest(&manifest).map_err(StudyError::Folder)?;
        let describing = {
            let (file, device, executor) = (file.clone(), D::NAME.as_str(), plan.ran_by());
            std::thread::spawn(move || environment(&file, device, &executor))
        };
        let made = self.train::<D>(store, &mut schedule, due, &manifest)?;
        // What is left to be done takes no more threads than the trials did.
        let threads = rayon::ThreadPoolBuilder::new().num_threads(options.jobs.min(processors())).build();
        let threads = threads.map_err(|error| TrainError::Threads(error.to_string()))?;
        Ok(threads.install(|| self.close(store, manifest, describing, &schedule, made))?)
    }

    /// Trains what is due, and what the folder lacks of trials that have ended.
    fn train<D: OnDevice>(
        &self,
        store: &mut Store,
        schedule: &mut Schedule<'_>,
        due: Vec<usize>,
        manifest: &Manifest,
    ) -> Result<Made, TrainError> {
        let &Run { plan, registry, watch, stop, .. } = self;
        let missing: Vec<&TrialPlan> = due.iter().map(|place| &plan.trials[*place]).collect();
        watch.asked(missing.len(), plan.iterations(&missing));
        watch.told(&Event::Training);
        let jobs = self.study.options.jobs;
        let made = train::<D>(registry, store, schedule, due, jobs, stop, watch).and_then(|finished| {
            let again = Again { registry, jobs, stop, watch };
            if finished { again.run::<D>(store, schedule, manifest) } else { Ok(Made::Part) }
        });
        watch.told(&Event::Trained);
        registry.stop_programs().iter().for_each(|error| watch.told(&Event::Program(error)));
        made
    }

    /// Writes tables, page and manifest of trials that ended. A folder is finished once its manifest says so, and the
    /// journals, of which tables and page were made, go last, so that a run that is cut short leaves both to the next one.
    fn close(
        &self,
        store: &mut Store,
        mut manifest: Manifest,
        describing: JoinHandle<Environment>,
        schedule: &Schedule<'_>,
        made: Made,
    ) -> Result<Ran, TrainError> {
        let (plan, finished) = (self.plan, made == Made::All);
        let thresholds = store.thresholds();
        // A table that was lost is written once all of its rows are there; until then the journal keeps them.
        let partly = made == Made::Part && !store.lost().is_empty();
        if !partly {
            store.compact(&plan.columns(), &|config, seed| plan.rank(config, seed))?;
        }
        if finished {
            store.forget_checkpoints()?;
        }
        for layer in &mut manifest.layers {
            layer.threshold = thresholds.get(&layer.name).copied().or(layer.threshold);
        }
        if let Ok(environment) = describing.join() {
            manifest.environment = environment;
        }
        manifest.finished = Some(timestamp());
        manifest.status = if finished { StudyStatus::Finished } else { StudyStatus::Interrupted };
        manifest.planned = schedule.asked().count();
        (manifest.entrants, manifest.race) = (schedule.entrants(), schedule.race());
        let page = if partly { None } else { Some(write_page(store, &mut manifest)?) };
        let rows = rows(schedule, store, &manifest)?;
        if !partly && plan.spec.save == Save::Best {
            store.keep_best_weights(&rows, &manifest)?;
        }
        manifest.rows = tables::heights(store.dir())?;
        store.write_manifest(&manifest)?;
        if !partly {
            store.settle()?;
        }
        let end = if finished { End::Finished } else { End::Interrupted };
        Ok(Ran { dir: store.dir().to_path_buf(), manifest, rows, end, page })
    }
}

/// The rows of the trials that were asked for.
fn rows(schedule: &Schedule<'_>, store: &Store, manifest: &Manifest) -> Result<Vec<SummaryRow>, StoreError> {
    let asked: HashSet<&str> = schedule.asked().map(|trial| trial.id.as_str()).collect();
    Ok(store.rows(Some(manifest))?.into_iter().filter(|row| asked.contains(row.trial.as_str())).collect())
}

/// Whether fewer trials are asked for than a finished folder was asked for and has; it goes on saying what all are.
fn asks_less(new: &Manifest, earlier: &Manifest, known: usize) -> bool {
    let fixed = |manifest: &Manifest| manifest.sampling.is_none() && manifest.race.is_none();
    let less = earlier.planned == known && new.planned < known;
    let ranked = new.objective == earlier.objective;
    earlier.status == StudyStatus::Finished && less && ranked && fixed(new) && fixed(earlier)
}

/// Whether a folder that is finished says already all that a new manifest would, and its page is there.
fn nothing_new(new: &Manifest, earlier: &Manifest) -> bool {
    let same = Manifest {
        environment: earlier.environment.clone(),
        finished: earlier.finished.clone(),
        status: StudyStatus::Finished,
        command: earlier.command.clone(),
        files: earlier.files.clone(),
        weights: earlier.weights.clone(),
        ..new.clone()
    };
    let files = || new.files.iter().all(|file| earlier.files.binary_search(file).is_ok());
    same == *earlier && files() && (new.weights == earlier.weights || new.weighed().is_subset(&earlier.weighed()))
}

/// Makes the page of what a manifest says, which lists its files from then on.
fn write_page(store: &Store, manifest: &mut Manifest) -> Result<PathBuf, StoreError> {
    let dir = store.dir();
    let failed = |error: report::ReportError| StoreError::Table { dir: dir.into(), error: error.to_string() };
    let written = report::write_as(dir, manifest).map_err(failed)?;
    // A figure that is not drawn any more, and that somebody removed, is missed by nobody.
    manifest.files.retain(|name| !name.starts_with(PLOTS) || dir.join(name).exists());
    manifest.files.extend(written.files);
    manifest.files.sort();
    manifest.files.dedup();
    Ok(written.page)
}
