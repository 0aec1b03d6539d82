//! `runner FILE...`: check all files, then train each and leave its result folder.

use super::progress::Progress;
use super::{Exit, PluginArgs, complain, fail, load_registry, print, refuse};
use crate::program;
use crate::registry::{Crate, OnDevice, Registry};
use crate::report;
use crate::spec::component::Info;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::source::{Sources, Span};
use crate::spec::{self, Overrides, Save};
use crate::store::environment::environment;
use crate::store::manifest::{DataSummary, FORMAT, LayerSummary, Manifest, Objective, Quantity, StudyStatus};
use crate::store::ranking;
use crate::store::tables::Columns;
use crate::store::{self, Opening, Store, StoreError};
use crate::study::identity::plugins;
use crate::study::{Executor, Plan, TrainError, TrialPlan, train};
use crate::tensor::{Backend, DeviceError, DeviceName};
use clap::{Args, ValueEnum};
use dfdx::prelude::Cpu;
use serde_json::json;
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
    for request in &requests {
        let exit = match args.device {
            DeviceArg::Cpu => run_one::<Cpu>(args, request, &stop),
            #[cfg(feature = "cuda")]
            DeviceArg::Cuda => run_one::<dfdx::prelude::Cuda>(args, request, &stop),
            #[cfg(not(feature = "cuda"))]
            DeviceArg::Cuda => fail(DeviceError::NotBuilt, None, Exit::Request),
        };
        match exit {
            Exit::Fine => {}
            Exit::TrialFailed => worst = Exit::TrialFailed,
            Exit::Request | Exit::Storage | Exit::Interrupted => return exit,
        }
    }
    worst
}

fn requests(args: &RunArgs, crates: &[Crate]) -> Result<Vec<Request>, Exit> {
    let device =
        open_device(args.device).map_err(|error| fail(error, Some("`--device cpu` runs everywhere"), Exit::Request))?;
    let mut requests: Vec<Request> = Vec::new();
    let mut refused = None;
    for file in &args.files {
        let mut sources = Sources::default();
        let overrides = Overrides { set: args.set.clone(), sweep: args.sweep.clone(), seeds: args.seeds.clone() };
        let checked =
            load_registry(crates, std::slice::from_ref(file), &args.plugins, &mut sources).and_then(|registry| {
                let spec = spec::read(file, &overrides, &registry, &mut sources)?;
                let plan = Plan::new(spec, &registry, &sources, args.executor.on(device), device)?;
                if !args.allow_programs {
                    refuse_programs(&plan, &registry)?;
                }
                Ok((registry, plan))
            });
        match checked {
            Ok((registry, plan)) => {
                let out = out_folder(args, &plan.spec.name);
                if let Some(other) = requests.iter().find(|other| other.out == out) {
                    let text =
                        format!("{} and {} would write to {}", other.file.display(), file.display(), out.display());
                    return Err(fail(text, Some("give them different names"), Exit::Request));
                }
                requests.push(Request { file: file.clone(), out, registry, plan });
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
        StoreError::Manifest { .. } | StoreError::Table { .. } => {
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
        && nothing_new(&manifest, earlier)
    {
        let (rows, page) = (store.summary()?, request.out.join("report.html"));
        let page = format!("nothing to do; the report is {}\n", page.display());
        return summarise(args, request, rows, earlier, false, &page);
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
    let metrics: Vec<String> = plan.spec.train.metrics.iter().map(|m| m.kind.clone()).collect();
    let thresholds = store.thresholds();
    store.compact(&Columns { metrics, swept: plan.swept.clone() }, &|config, seed| plan.rank(config, seed))?;
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
    summarise(args, request, store.summary()?, &manifest, ended.interrupted, &page)
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

fn summarise(
    args: &RunArgs,
    request: &Request,
    rows: Vec<store::SummaryRow>,
    manifest: &Manifest,
    interrupted: bool,
    page: &str,
) -> Result<Exit, TrainError> {
    let planned: HashSet<&str> = request.plan.trials.iter().map(|t| t.id.as_str()).collect();
    let rows: Vec<store::SummaryRow> = rows.into_iter().filter(|row| planned.contains(row.trial.as_str())).collect();
    if args.json {
        rows.iter().for_each(|row| print(&format!("{}\n", json_line(row, manifest))));
    } else if !args.quiet {
        let swept = !request.plan.swept.is_empty();
        print(&if swept { configurations(&rows, manifest) } else { table(&rows, manifest) });
        print(page);
    }
    let failed: Vec<&store::SummaryRow> = rows.iter().filter(|row| row.error.is_some()).collect();
    for row in failed.iter().take(10) {
        complain(&format!(
            "error: trial {} (seed {}) failed: {}\n",
            row.trial,
            row.seed,
            row.error.as_deref().unwrap_or("")
        ));
    }
    if failed.len() > 10 {
        complain(&format!("error: {} trials failed in all\n", failed.len()));
    }
    if interrupted {
        let text = format!(
            "interrupted: {} of {} trials are finished and kept; the same command goes on",
            rows.len(),
            planned.len()
        );
        complain(&format!("{text}\n"));
        return Ok(Exit::Interrupted);
    }
    Ok(if failed.is_empty() { Exit::Fine } else { Exit::TrialFailed })
}

/// Trials that are printed one by one; of more only the first are.
const PRINTED: usize = 20;

fn table(rows: &[store::SummaryRow], manifest: &Manifest) -> String {
    let mut header = vec!["trial".to_string(), "seed".into()];
    header.extend(quantities(manifest));
    header.push("seconds".into());
    let mut lines = vec![header];
    for row in rows.iter().take(PRINTED) {
        let mut line = vec![row.trial.clone(), row.seed.to_string()];
        match &row.error {
            None => line.extend(std::iter::once(row.loss).chain(row.metrics.iter().copied()).map(figure)),
            Some(_) => {
                line.extend(std::iter::once("failed".into()).chain(manifest.metrics.iter().map(|_| "-".to_string())))
            }
        }
        line.push(format!("{:.3}", row.seconds));
        lines.push(line);
    }
    let mut text = aligned(&lines);
    if rows.len() > PRINTED {
        text += &format!("... and {} more in trials.parquet\n", rows.len() - PRINTED);
    }
    text
}

/// The medians of each configuration over its seeds, the best first.
fn configurations(rows: &[store::SummaryRow], manifest: &Manifest) -> String {
    let ranked = ranking::rank(rows, manifest);
    let mut header: Vec<String> =
        ranked.first().map_or(&[][..], |first| &first.params).iter().map(|(name, _)| name.clone()).collect();
    header.push("seeds".into());
    header.extend(quantities(manifest));
    let mut lines = vec![header];
    for configuration in ranked.iter().take(PRINTED) {
        let mut line: Vec<String> = configuration.params.iter().map(|(_, value)| value.clone()).collect();
        line.push(configuration.completed.to_string());
        line.extend(configuration.medians.iter().copied().map(figure));
        lines.push(line);
    }
    let mut text = format!("medians over seeds, ordered by {}\n", manifest.objective.name);
    text += &aligned(&lines);
    if ranked.len() > PRINTED {
        text += &format!("... and {} more configurations in trials.parquet\n", ranked.len() - PRINTED);
    }
    text
}

/// Headings of loss and metrics, with units.
fn quantities(manifest: &Manifest) -> impl Iterator<Item = String> {
    let unit = |q: &Quantity| if q.unit == "1" { q.name.clone() } else { format!("{} ({})", q.name, q.unit) };
    let loss = unit(&Quantity { name: "loss".into(), ..manifest.loss.clone() });
    std::iter::once(loss).chain(manifest.metrics.iter().map(unit).collect::<Vec<_>>())
}

/// Lines of cells, right-aligned in columns.
fn aligned(lines: &[Vec<String>]) -> String {
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        text += &format!("{}\n", cells.join("  "));
    }
    text
}

fn figure(value: Option<f64>) -> String {
    match value {
        Some(x) if x.is_nan() => "undefined".into(),
        Some(x) if x != 0.0 && !(1e-3..1e5).contains(&x.abs()) => format!("{x:.4e}"),
        Some(x) => format!("{x:.5}"),
        None => "-".into(),
    }
}

fn json_line(row: &store::SummaryRow, manifest: &Manifest) -> serde_json::Value {
    let metrics: serde_json::Map<String, serde_json::Value> =
        manifest.metrics.iter().zip(&row.metrics).map(|(q, value)| (q.name.clone(), json!(value))).collect();
    let params: serde_json::Map<String, serde_json::Value> =
        row.params.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({ "trial": row.trial, "config": row.config, "params": params, "seed": row.seed, "error": row.error, "loss": row.loss, "metrics": metrics,
        "duration_s": row.seconds })
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
    let metric = |component: &spec::Component| {
        let entry = &registry.metrics[&component.kind];
        Quantity {
            name: component.kind.clone(),
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
    let objective = plan.spec.sweep.as_ref().and_then(|sweep| sweep.objective.clone());
    Ok(Manifest {
        format: FORMAT,
        name: plan.spec.name.clone(),
        about: plan.spec.about.clone(),
        identity: plan.identity.clone(),
        spec: plan.study_toml(),
        plugins: plan.configurations.iter().flat_map(|configuration| plugins(&configuration.spec, registry)).collect(),
        command: command(),
        swept: plan.swept.clone(),
        objective: objective.map_or_else(Objective::default, |o| Objective { name: o.name, maximize: o.maximize }),
        layers: first.network.layers.iter().map(layer).collect(),
        parameters: first.network.size(),
        data: DataSummary {
            kind: first.spec.data.kind.clone(),
            steps: first.data.steps,
            samples: first.data.samples,
            inputs: first.data.inputs.clone(),
            targets: first.data.targets.clone(),
        },
        loss: loss_quantity(plan, registry),
        metrics: plan.spec.train.metrics.iter().map(metric).collect(),
        environment: environment_placeholder(),
        started: store.earlier.as_ref().map_or_else(timestamp, |old| old.started.clone()),
        finished: None,
        status: StudyStatus::Running,
        planned: plan.trials.len(),
        files,
    })
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
            Quantity { name, about: entry.info.about.clone(), unit: entry.build.unit.clone(), lower_is_better: true }
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
