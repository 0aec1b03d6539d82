//! `runner FILE...`: check all files, then train each and leave its result folder.

use super::progress::Progress;
use super::settled::{self, Settled};
use super::summary::{Printing, summarise};
use super::{Exit, PluginArgs, complain, fail, load_registry, refuse};
use crate::program;
use crate::registry::{Crate, OnDevice, Registry};
use crate::report;
use crate::spec::component::Info;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::source::{Sources, Span};
use crate::spec::{self, Overrides, Save, Select};
use crate::store::environment::environment;
use crate::store::manifest::{DataSummary, FORMAT, LayerSummary, Manifest, Objective, Parts, Quantity, StudyStatus};
use crate::store::tables::Columns;
use crate::store::{self, Opening, Store, StoreError, SummaryRow};
use crate::study::identity::{meanings, plugins};
use crate::study::{Executor, Measured, Plan, TrainError, TrialPlan, train};
use crate::tensor::{Backend, DeviceError, DeviceName};
use clap::{Args, ValueEnum};
use dfdx::prelude::Cpu;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

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
    let stop = Arc::new(AtomicBool::new(false));
    let handler = stop.clone();
    let handled = ctrlc::set_handler(move || {
        if handler.swap(true, Ordering::Relaxed) {
            program::kill_all();
            std::process::exit(Exit::Interrupted as i32);
        }
    });
    if let Err(error) = handled {
        return fail(format!("signals cannot be handled: {error}"), None, Exit::Request);
    }
    let mut worst = Exit::Fine;
    for asked in &requests {
        let exit = match (asked, args.device) {
            (Asked::Settled(settled), _) => settled.say(args.printing()),
            (Asked::Planned(request), DeviceArg::Cpu) => run_one::<Cpu>(args, request, &stop),
            #[cfg(feature = "cuda")]
            (Asked::Planned(request), DeviceArg::Cuda) => run_one::<dfdx::prelude::Cuda>(args, request, &stop),
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
            let (file, out) = (file.clone(), out_folder(args, &spec.name));
            let executor = args.executor.on(device);
            if !args.fresh
                && args.retry.is_none()
                && let Some((manifest, rows)) = settled::find(&out, &spec, &registry, &sources, (executor, device))?
            {
                return Ok(Asked::Settled(Box::new(Settled { file, out, manifest, rows })));
            }
            let plan = Plan::new(spec, &registry, &sources, executor, device)?;
            match args.allow_programs {
                true => registry.allow_programs(),
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

fn run_one<D: OnDevice>(args: &RunArgs, request: &Request, stop: &AtomicBool) -> Exit {
    let sync = match args.sync {
        SyncArg::Group => store::Sync::Group,
        SyncArg::Every => store::Sync::Every,
    };
    let opening = Opening { fresh: args.fresh, retry_failed: args.retry == Some(Retry::Failed), sync };
    let mut store = match Store::open(&request.out, &request.plan.identity, opening) {
        Ok(store) => store,
        Err(error) => return refuse_folder(&error),
    };
    if !args.quiet {
        store.notes.iter().for_each(|note| complain(&format!("warning: {note}\n")));
    }
    match train_and_store::<D>(args, request, &mut store, stop) {
        Ok(exit) => exit,
        Err(error) => fail(error, Some("finished trials are kept; run the same command again to go on"), Exit::Storage),
    }
}

fn refuse_folder(error: &StoreError) -> Exit {
    let help = match error {
        StoreError::OtherExperiment(_) => {
            Some("`--out DIR` keeps both; `--fresh` deletes what is there and begins anew")
        }
        StoreError::Foreign(_) => Some("`--out DIR` names another folder"),
        StoreError::InUse { .. } => Some("wait for it to end, or use `--out DIR`"),
        StoreError::Io { .. } => Some("`--out DIR` names a folder that can be written"),
        StoreError::Manifest { .. } | StoreError::Table { .. } | StoreError::NoResults(_) => {
            Some("`--out DIR` names another folder; `--fresh` needs a manifest that can be read")
        }
    };
    fail(error, help, Exit::Request)
}

fn train_and_store<D: OnDevice>(
    args: &RunArgs,
    request: &Request,
    store: &mut Store,
    stop: &AtomicBool,
) -> Result<Exit, TrainError> {
    let plan = &request.plan;
    let (file, device, executor) = (request.file.clone(), D::NAME.as_str(), plan.executor.as_str());
    let mut manifest = manifest(request, store)?;
    let known: HashSet<String> = store.known().into_iter().map(|key| key.trial).collect();
    let missing: Vec<&TrialPlan> = plan.trials.iter().filter(|trial| !known.contains(&trial.id)).collect();
    if !args.quiet && missing.len() < plan.trials.len() {
        complain(&format!(
            "{}: {} of {} trials are there already\n",
            request.out.display(),
            plan.trials.len() - missing.len(),
            plan.trials.len()
        ));
    }
    if let Some(earlier) = store.earlier.as_ref().filter(|_| missing.is_empty())
        && store.is_settled(&|config, seed| plan.rank(config, seed))
        && (nothing_new(&manifest, earlier) || asks_less(&manifest, earlier, known.len()))
    {
        let rows = planned_rows(plan, store)?;
        return Ok(summarise(&rows, earlier, args.printing(), false, &settled::closing(&request.out)));
    }
    let describing = std::thread::spawn(move || environment(&file, device, executor));
    store.write_manifest(&manifest)?;
    let progress = Progress::new(missing.len(), plan.iterations(&missing), args.quiet);
    let jobs = args.jobs.map_or_else(processors, |jobs| jobs as usize);
    let ended = train::<D>(plan, &request.registry, store, jobs, stop, &progress);
    progress.finish();
    for error in request.registry.stop_programs() {
        complain(&format!("warning: {error}\n"));
    }
    let ended = ended?;
    let metrics = plan.quantities().iter().map(Measured::name).collect();
    let thresholds = store.thresholds();
    store.compact(&Columns { metrics, recorded: plan.recorded(), swept: plan.swept.clone() }, &|config, seed| {
        plan.rank(config, seed)
    })?;
    if plan.spec.save == Save::Best {
        store.keep_best_weights()?;
    }
    for layer in &mut manifest.layers {
        layer.threshold = thresholds.get(&layer.name).copied().or(layer.threshold);
    }
    if let Ok(environment) = describing.join() {
        manifest.environment = environment;
    }
    manifest.finished = Some(timestamp());
    manifest.status = if ended.interrupted { StudyStatus::Interrupted } else { StudyStatus::Finished };
    store.write_manifest(&manifest)?;
    let page = write_report(request, store, &mut manifest)?;
    Ok(summarise(&planned_rows(plan, store)?, &manifest, args.printing(), ended.interrupted, &page))
}

/// The rows of the trials that were asked for.
fn planned_rows(plan: &Plan, store: &Store) -> Result<Vec<SummaryRow>, StoreError> {
    let planned: HashSet<&str> = plan.trials.iter().map(|t| t.id.as_str()).collect();
    Ok(store.summary()?.into_iter().filter(|row| planned.contains(row.trial.as_str())).collect())
}

/// Whether fewer trials are asked for than a finished folder was asked for and has; it goes on saying what all are.
fn asks_less(new: &Manifest, earlier: &Manifest, known: usize) -> bool {
    earlier.status == StudyStatus::Finished && earlier.planned == known && new.planned < known
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
            manifest.files.extend(written.files);
            manifest.files.sort();
            manifest.files.dedup();
            store.write_manifest(manifest)?;
            Ok(format!("report: {}\n", written.page.display()))
        }
        Err(error) => Err(StoreError::Table { dir: request.out.clone(), error: error.to_string() }),
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

fn timestamp() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

fn manifest(request: &Request, store: &Store) -> Result<Manifest, StoreError> {
    let (plan, registry) = (&request.plan, &request.registry);
    let first = &plan.configurations[0];
    let layer = |layer: &crate::nn::LayerPlan| LayerSummary {
        name: layer.name.clone(),
        kind: layer.kind.clone(),
        inputs: layer.inputs,
        size: layer.size,
        output: layer.output.clone(),
        parameters: layer.parameters.iter().map(|p| (p.name.clone(), p.shape.clone())).collect(),
        threshold: store.earlier.as_ref().and_then(|old| old.layers.iter().find(|l| l.name == layer.name)?.threshold),
    };
    let metric = |measured: &Measured| {
        let Some(kind) = &measured.metric else {
            let about = "the loss of the validation part".into();
            return Quantity { name: measured.name(), about, ..loss_quantity(plan, registry) };
        };
        let entry = &registry.metrics[kind];
        Quantity {
            name: measured.name(),
            about: entry.info.about.clone(),
            unit: entry.build.unit.clone(),
            lower_is_better: entry.build.lower_is_better,
        }
    };
    let mut files: Vec<String> = store::FILES.iter().map(|name| name.to_string()).collect();
    let old = store.earlier.as_ref().map(|old| old.files.clone()).unwrap_or_default();
    let weighed = plan.trials.iter().filter(|_| plan.spec.save != Save::None);
    files.extend(old.into_iter().chain(weighed.map(|trial| store::weights_file(&trial.id))));
    files.sort();
    files.dedup();
    let quantities = plan.quantities();
    let validated = quantities.iter().any(|measured| measured.name() == "validation.loss");
    let objective = plan.spec.sweep.as_ref().and_then(|sweep| sweep.objective.clone());
    Ok(Manifest {
        format: FORMAT,
        name: plan.spec.name.clone(),
        about: plan.spec.about.clone(),
        identity: plan.identity.clone(),
        request: plan.request.clone(),
        parts: parts(plan, registry),
        experiment: std::path::absolute(&request.file).unwrap_or_else(|_| request.file.clone()).display().to_string(),
        spec: plan.study_toml(),
        plugins: plan.configurations.iter().flat_map(|configuration| plugins(&configuration.spec, registry)).collect(),
        command: command(),
        swept: plan.swept.clone(),
        objective: match objective {
            Some(objective) => Objective { name: objective.name, maximize: objective.maximize },
            None if validated => Objective { name: "validation.loss".into(), maximize: false },
            None => Objective::default(),
        },
        layers: first.network.layers.iter().map(layer).collect(),
        parameters: first.network.size(),
        data: DataSummary {
            kind: first.spec.data.kind.clone(),
            steps: first.data.steps,
            samples: first.data.samples,
            inputs: first.data.inputs.clone(),
            targets: first.data.targets.clone(),
            split: first.dataset.describe_split(),
            parts: first.dataset.parts().into_iter().map(|(part, n)| (part.as_str().to_string(), n)).collect(),
            selected: match first.spec.train.select {
                Select::Last => "the last".into(),
                Select::Best if validated => "those of the lowest validation loss".into(),
                Select::Best => "those of the lowest training loss".into(),
            },
        },
        loss: loss_quantity(plan, registry),
        metrics: quantities.iter().map(metric).collect(),
        environment: environment_placeholder(),
        started: store.earlier.as_ref().map_or_else(timestamp, |old| old.started.clone()),
        finished: None,
        status: StudyStatus::Running,
        planned: plan.trials.len(),
        files,
    })
}

/// What ids were made from, for all configurations together.
fn parts(plan: &Plan, registry: &Registry) -> Parts {
    let components = plan.configurations.iter().flat_map(|configuration| meanings(&configuration.spec, registry));
    Parts {
        executor: plan.executor.as_str().into(),
        device: plan.device.as_str().into(),
        content: plan.content.clone(),
        components: components.collect(),
    }
}

/// Stands in the manifest until the run has ended; asking git and reading the binary take longer than small runs.
fn environment_placeholder() -> crate::store::manifest::Environment {
    crate::store::manifest::Environment {
        runner: env!("CARGO_PKG_VERSION").into(),
        binary: String::new(),
        platform: String::new(),
        instructions: String::new(),
        processor: String::new(),
        host: String::new(),
        device: String::new(),
        executor: String::new(),
        git_commit: None,
        git_dirty: None,
    }
}

fn loss_quantity(plan: &Plan, registry: &Registry) -> Quantity {
    match plan.spec.train.loss.as_slice() {
        [only] => {
            let entry = registry.loss(&only.loss.kind);
            let name = only.loss.kind.clone();
            // Inside, targets have the scale that was fitted; metrics are in their own units again.
            let scaled = plan.spec.data.args.text("scale").is_some_and(|scale| scale != "none");
            let unit = &entry.build.unit;
            let unit = if scaled { unit.replace("target", "scaled target") } else { unit.clone() };
            Quantity { name, about: entry.info.about.clone(), unit, lower_is_better: true }
        }
        several => {
            let part = |term: &spec::Term| format!("{} {}", term.weight, term.loss.kind);
            let name = several.iter().map(part).collect::<Vec<_>>().join(" + ");
            Quantity { about: "weighted sum of losses".into(), name, unit: "mixed".into(), lower_is_better: true }
        }
    }
}

/// The command as it was given, quoted where a shell needs it.
fn command() -> String {
    let quote = |word: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:".contains(c);
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| quote(word.to_string_lossy().into_owned())).collect();
    format!("runner {}", words.join(" "))
}
