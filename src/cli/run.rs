//! `runner FILE...`: check all files, then train each and leave its result folder.

use super::again::{Made, Training};
use super::manifest::{manifest, timestamp};
use super::progress::Progress;
use super::refusal::{refuse_folder, refuse_other};
use super::settled::{self, Settled};
use super::summary::{Printing, summarise};
use super::{Exit, PluginArgs, complain, fail, load_registry, note, refuse, signals, tell_broken, tell_notes};
use crate::program::Cache;
use crate::registry::{Crate, OnDevice, Registry};
use crate::report;
use crate::spec::component::Info;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::source::{Sources, Span};
use crate::spec::{self, Overrides, Save};
use crate::store::environment::environment;
use crate::store::manifest::{Environment, Manifest, StudyStatus};
use crate::store::{self, Opening, PLOTS, Store, StoreError, SummaryRow};
use crate::study::again::Lacking;
use crate::study::{Executor, Plan, Schedule, TrainError, TrialPlan, memory, train};
use crate::tensor::{Backend, DeviceError, DeviceName};
use clap::{Args, ValueEnum};
use dfdx::prelude::Cpu;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Options of `runner run`.
#[derive(Args)]
pub struct RunArgs {
    /// Experiment files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set a key, for example optimizer.lr=1e-4
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Vary a key, for example optimizer.lr=1e-4,1e-3
    #[arg(long, value_name = "KEY=A,B,...")]
    sweep: Vec<String>,
    /// Seeds: 7, or 1,5,9, or the half-open 0..40
    #[arg(long)]
    seeds: Option<String>,
    /// Where networks run
    #[arg(long, default_value = "cpu")]
    device: DeviceArg,
    /// What runs the neurons; fused is the fast one, on the processor only
    #[arg(long, default_value = "fused")]
    executor: ExecutorArg,
    /// Trials side by side, one thread each [default: the processors there are]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    /// The result folder [default: results/NAME]; with several files the folder of these
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Delete the results that are there, and begin anew
    #[arg(long)]
    fresh: bool,
    /// When the disk has what finished: `group`, at most 0.1 s later, or `every`, before the next trial is stored
    #[arg(long, value_name = "WHEN", default_value = "group")]
    sync: SyncArg,
    /// Run failed trials again
    #[arg(long, value_name = "WHICH")]
    retry: Option<Retry>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Print the summary as JSON, a line a trial
    #[arg(long)]
    json: bool,
    /// Start the programs that the experiment names as its dataset or metrics
    #[arg(long)]
    allow_programs: bool,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl RunArgs {
    fn printing(&self) -> Printing {
        match (self.json, self.quiet) {
            (true, _) => Printing::Json,
            (false, true) => Printing::Quiet,
            (false, false) => Printing::Table,
        }
    }
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum DeviceArg {
    Cpu,
    Cuda,
}

/// What runs the neurons.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum ExecutorArg {
    Reference,
    Fused,
}

impl ExecutorArg {
    /// The executor on a device: elsewhere than on the processor the reference.
    pub fn on(self, device: DeviceName) -> Executor {
        match (self, device) {
            (ExecutorArg::Fused, DeviceName::Cpu) => Executor::Fused,
            (ExecutorArg::Reference, _) | (ExecutorArg::Fused, DeviceName::Cuda) => Executor::Reference,
        }
    }
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum Retry {
    /// Trials that failed
    Failed,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum SyncArg {
    Group,
    Every,
}

/// A checked file with what it means.
struct Request {
    file: PathBuf,
    out: PathBuf,
    registry: Registry,
    plan: Plan,
}

/// Checks all files, then trains them one after the other.
pub fn run(args: &RunArgs, crates: &[Crate]) -> Exit {
    let requests = match requests(args, crates) {
        Ok(requests) => requests,
        Err(exit) => return exit,
    };
    let mut worst = Exit::Fine;
    for asked in &requests {
        let exit = match (asked, args.device) {
            (Asked::Settled(settled), _) => settled.say(args.printing()),
            (Asked::Planned(request), DeviceArg::Cpu) => run_one::<Cpu>(args, request),
            #[cfg(feature = "cuda")]
            (Asked::Planned(request), DeviceArg::Cuda) => run_one::<dfdx::prelude::Cuda>(args, request),
            #[cfg(not(feature = "cuda"))]
            (Asked::Planned(_), DeviceArg::Cuda) => fail(DeviceError::NotBuilt, None, Exit::Request),
        };
        match exit {
            Exit::Fine => {}
            Exit::TrialFailed => worst = Exit::TrialFailed,
            Exit::Request | Exit::Storage | Exit::Interrupted => return exit,
        }
    }
    worst
}

/// A file whose study has to be opened, or is finished.
enum Asked {
    Planned(Box<Request>),
    Settled(Box<Settled>),
}

impl Asked {
    fn file_and_out(&self) -> (&Path, &Path) {
        match self {
            Asked::Planned(request) => (&request.file, &request.out),
            Asked::Settled(settled) => (&settled.file, &settled.out),
        }
    }
}

fn requests(args: &RunArgs, crates: &[Crate]) -> Result<Vec<Asked>, Exit> {
    let device =
        open_device(args.device).map_err(|error| fail(error, Some("`--device cpu` runs everywhere"), Exit::Request))?;
    let mut requests: Vec<Asked> = Vec::new();
    let mut refused = None;
    for file in &args.files {
        let mut sources = Sources::default();
        let overrides = Overrides { set: args.set.clone(), sweep: args.sweep.clone(), seeds: args.seeds.clone() };
        let registry = load_registry(crates, std::slice::from_ref(file), &args.plugins, &mut sources);
        let checked = registry.and_then(|registry| {
            let spec = spec::read(file, &overrides, &registry, &mut sources)?;
            tell_broken(&registry, &sources);
            let (file, out) = (file.clone(), out_folder(args, &spec.name));
            let executor = args.executor.on(device);
            if !args.fresh
                && args.retry.is_none()
                && let Some((manifest, rows)) = settled::find(&out, &spec, &registry, &sources, (executor, device))?
            {
                return Ok(Asked::Settled(Box::new(Settled { file, out, manifest, rows })));
            }
            let plan = Plan::new(spec, &registry, &sources, executor, device)?;
            tell_notes(&plan);
            memory::check(&plan, args.jobs.map_or_else(processors, |jobs| jobs as usize))?;
            match args.allow_programs {
                true => registry.allow_programs(cache(&plan, &registry)),
                false => refuse_programs(&plan, &registry)?,
            }
            Ok(Asked::Planned(Box::new(Request { file, out, registry, plan })))
        });
        match checked {
            Ok(asked) => {
                let (file, out) = asked.file_and_out();
                if let Some((other, _)) = requests.iter().map(Asked::file_and_out).find(|(_, other)| *other == out) {
                    let text = format!("{} and {} would write to {}", other.display(), file.display(), out.display());
                    return Err(fail(text, Some("give them different names"), Exit::Request));
                }
                requests.push(asked);
            }
            Err(found) => refused = Some(refuse(&found, &sources)),
        }
    }
    refused.map_or(Ok(requests), Err)
}

/// Where what programs give is kept, if a dataset is a program's.
fn cache(plan: &Plan, registry: &Registry) -> Option<Arc<Cache>> {
    if !plan.programs(registry).into_iter().any(|(info, _)| registry.datasets.contains_key(&info.name)) {
        return None;
    }
    match Cache::of_user() {
        Ok(cache) => Some(Arc::new(cache)),
        Err(why) => {
            note(&format!("what programs give is not kept, so that each trial asks again: {why}"));
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

fn out_folder(args: &RunArgs, name: &str) -> PathBuf {
    match &args.out {
        Some(out) if args.files.len() == 1 => out.clone(),
        Some(out) => out.join(name),
        None => Path::new("results").join(name),
    }
}

fn open_device(device: DeviceArg) -> Result<DeviceName, DeviceError> {
    match device {
        DeviceArg::Cpu => Cpu::open().map(|_| DeviceName::Cpu),
        #[cfg(feature = "cuda")]
        DeviceArg::Cuda => dfdx::prelude::Cuda::open().map(|_| DeviceName::Cuda),
        #[cfg(not(feature = "cuda"))]
        DeviceArg::Cuda => Err(DeviceError::NotBuilt),
    }
}

fn run_one<D: OnDevice>(args: &RunArgs, request: &Request) -> Exit {
    let sync = match args.sync {
        SyncArg::Group => store::Sync::Group,
        SyncArg::Every => store::Sync::Every,
    };
    let opening = Opening { fresh: args.fresh, retry_failed: args.retry == Some(Retry::Failed), sync };
    let mut store = match Store::open(&request.out, &request.plan.identity, opening) {
        Ok(store) => store,
        Err(StoreError::OtherExperiment(dir)) => return refuse_other(&dir, &request.plan, &request.registry),
        Err(error) => return refuse_folder(&error),
    };
    if !args.quiet {
        store.notes.iter().for_each(|note| complain(&format!("warning: {note}\n")));
    }
    match train_and_store::<D>(args, request, &mut store) {
        Ok(exit) => exit,
        Err(error @ TrainError::Differs(_)) => {
            let help = "what is stored stays; the binary that made it makes it again, `--out DIR` keeps both, \
                        `--fresh` deletes what is there and begins anew";
            fail(error, Some(help), Exit::TrialFailed)
        }
        Err(error) => fail(error, Some("finished trials are kept; run the same command again to go on"), Exit::Storage),
    }
}

fn train_and_store<D: OnDevice>(args: &RunArgs, request: &Request, store: &mut Store) -> Result<Exit, TrainError> {
    let plan = &request.plan;
    let (file, device, executor) = (request.file.clone(), D::NAME.as_str(), plan.ran_by());
    let known = store.rows(store.earlier.as_ref())?;
    let mut schedule = Schedule::new(plan, &known);
    let due = schedule.begin();
    let manifest = manifest(&request.file, plan, &request.registry, store, &schedule);
    if !args.quiet && due.len() < manifest.planned {
        let (out, there) = (request.out.display(), manifest.planned - due.len());
        complain(&format!("{out}: {there} of {} trials are there already\n", manifest.planned));
    }
    let lacking = match Lacking::of(&schedule, store, &manifest, &known) {
        Ok(lacking) => lacking,
        Err(error) => return Ok(refuse_folder(&error)),
    };
    if let Some(earlier) = store.earlier.as_ref().filter(|_| due.is_empty() && lacking.is_empty())
        && store.is_settled(&|config, seed| plan.rank(config, seed))
        && (nothing_new(&manifest, earlier) || asks_less(&manifest, earlier, known.len()))
    {
        let rows = asked(&schedule, store, earlier)?;
        return Ok(summarise(&rows, earlier, args.printing(), false, &settled::closing(&request.out)));
    }
    // Nothing has been computed yet, so that this is still the request's fault.
    if let Err(error) = store.write_manifest(&manifest) {
        return Ok(refuse_folder(&error));
    }
    let describing = std::thread::spawn(move || environment(&file, device, &executor));
    let missing: Vec<&TrialPlan> = due.iter().map(|place| &plan.trials[*place]).collect();
    let progress = Progress::new(missing.len(), plan.iterations(&missing), args.quiet);
    let jobs = args.jobs.map_or_else(processors, |jobs| jobs as usize);
    let (registry, stop) = (&request.registry, signals::stop());
    let made = signals::while_training(|| {
        train::<D>(registry, store, &mut schedule, due, jobs, stop, &progress).and_then(|finished| {
            let training = Training { registry, jobs, stop, progress: &progress, quiet: args.quiet };
            if finished { training.again::<D>(store, &schedule, &manifest) } else { Ok(Made::Part) }
        })
    });
    progress.finish();
    for error in request.registry.stop_programs() {
        complain(&format!("warning: {error}\n"));
    }
    let made = made?;
    // What is left to be done takes no more threads than the trials did.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(jobs.min(processors())).build();
    let threads = threads.map_err(|error| TrainError::Threads(error.to_string()))?;
    threads.install(|| close(args, request, store, manifest, describing, &schedule, made))
}

/// Writes tables, manifest and report of trials that ended, and sums them up.
fn close(
    args: &RunArgs,
    request: &Request,
    store: &mut Store,
    mut manifest: Manifest,
    describing: JoinHandle<Environment>,
    schedule: &Schedule<'_>,
    made: Made,
) -> Result<Exit, TrainError> {
    let (plan, finished) = (&request.plan, made == Made::All);
    let thresholds = store.thresholds();
    // A table that was lost is written once all of its rows are there; until then the journal keeps them.
    let partly = made == Made::Part && !store.lost().is_empty();
    if !partly {
        store.compact(&plan.columns(), &|config, seed| plan.rank(config, seed))?;
        if plan.spec.save == Save::Best {
            store.keep_best_weights(&asked(schedule, store, &manifest)?, &manifest)?;
        }
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
    store.write_manifest(&manifest)?;
    let page = if partly { String::new() } else { write_report(request, store, &mut manifest)? };
    Ok(summarise(&asked(schedule, store, &manifest)?, &manifest, args.printing(), !finished, &page))
}

/// The rows of the trials that were asked for.
fn asked(schedule: &Schedule<'_>, store: &Store, manifest: &Manifest) -> Result<Vec<SummaryRow>, StoreError> {
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
        ..new.clone()
    };
    same == *earlier && new.files.iter().all(|file| earlier.files.binary_search(file).is_ok())
}

fn write_report(request: &Request, store: &Store, manifest: &mut Manifest) -> Result<String, StoreError> {
    match report::write(&request.out) {
        Ok(written) => {
            // A figure that is not drawn any more, and that somebody removed, is missed by nobody.
            manifest.files.retain(|name| !name.starts_with(PLOTS) || request.out.join(name).exists());
            manifest.files.extend(written.files);
            manifest.files.sort();
            manifest.files.dedup();
            store.write_manifest(manifest)?;
            Ok(format!("report: {}\n", written.page.display()))
        }
        Err(error) => Err(StoreError::Table { dir: request.out.clone(), error: error.to_string() }),
    }
}

/// The processors there are.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}
