//! `runner FILE...`: check all files, then run each study.

use super::progress::Bar;
use super::refusal::refuse_folder;
use super::summary::{Printing, summarise};
use super::{Exit, PluginArgs, fail, note, refuse, signals};
use crate::registry::Crate;
use crate::spec::Overrides;
use crate::store::{Opening, StoreError, Sync};
use crate::study::options::processors;
use crate::study::{End, Executor, Options, Ran, Study, StudyError, TrainError};
use crate::tensor::{DeviceError, DeviceName};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

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
    /// How the study of a file is run.
    fn options(&self) -> Options {
        let (out, results) = match &self.out {
            Some(out) if self.files.len() == 1 => (Some(out.clone()), None),
            several => (None, several.clone()),
        };
        let default = Options::default();
        Options {
            overrides: Overrides { set: self.set.clone(), sweep: self.sweep.clone(), seeds: self.seeds.clone() },
            plugins: self.plugins.plugins.clone(),
            executor: self.executor.into(),
            device: match self.device {
                DeviceArg::Cpu => DeviceName::Cpu,
                DeviceArg::Cuda => DeviceName::Cuda,
            },
            jobs: jobs(self.jobs),
            out,
            results: results.unwrap_or(default.results),
            opening: Opening {
                fresh: self.fresh,
                retry_failed: self.retry == Some(Retry::Failed),
                sync: match self.sync {
                    SyncArg::Group => Sync::Group,
                    SyncArg::Every => Sync::Every,
                },
            },
            allow_programs: self.allow_programs,
            command: command(),
        }
    }

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

impl From<ExecutorArg> for Executor {
    fn from(named: ExecutorArg) -> Executor {
        match named {
            ExecutorArg::Reference => Executor::Reference,
            ExecutorArg::Fused => Executor::Fused,
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

/// Checks all files, then runs their studies one after the other.
pub fn run(args: &RunArgs, crates: &[Crate]) -> Exit {
    let studies = match studies(args, crates) {
        Ok(studies) => studies,
        Err(exit) => return exit,
    };
    let mut worst = Exit::Fine;
    for study in &studies {
        let progress = Bar::new(args.quiet);
        let exit = match study.run(&progress, signals::stop()) {
            Ok(ran) => say(&ran, args.printing()),
            Err(error) => refuse_study(error, Some(study)),
        };
        match exit {
            Exit::Fine => {}
            Exit::TrialFailed => worst = Exit::TrialFailed,
            Exit::Request | Exit::Storage | Exit::Interrupted => return exit,
        }
    }
    worst
}

fn studies(args: &RunArgs, crates: &[Crate]) -> Result<Vec<Study>, Exit> {
    let mut studies: Vec<Study> = Vec::new();
    let mut refused = None;
    for file in &args.files {
        match Study::new(file, args.options(), crates) {
            Ok(study) => {
                study.notes().iter().for_each(|text| note(text));
                if let Some(other) = studies.iter().find(|other| other.dir() == study.dir()) {
                    let (first, out) = (other.file().display(), study.dir().display());
                    let text = format!("{first} and {} would write to {out}", file.display());
                    return Err(fail(text, Some("give them different names"), Exit::Request));
                }
                studies.push(study);
            }
            Err(error @ StudyError::Device(_)) => return Err(refuse_study(error, None)),
            Err(error) => refused = Some(refuse_study(error, None)),
        }
    }
    refused.map_or(Ok(studies), Err)
}

/// Prints what became of a study.
fn say(ran: &Ran, how: Printing) -> Exit {
    let closing = match (&ran.page, ran.end) {
        (None, _) => String::new(),
        (Some(page), End::There) => format!("nothing to do; the report is {}\n", page.display()),
        (Some(page), End::Finished | End::Interrupted) => format!("report: {}\n", page.display()),
    };
    summarise(&ran.rows, &ran.manifest, how, ran.end == End::Interrupted, &closing)
}

/// Says why a study was not run, or not to its end, and what is to be done.
fn refuse_study(error: StudyError, study: Option<&Study>) -> Exit {
    let differs = "what is stored stays; the binary that made it makes it again, `--out DIR` keeps both, `--fresh` \
                   deletes what is there and begins anew";
    match error {
        StudyError::Refused(refused) => {
            refused.notes.iter().for_each(|text| note(text));
            refuse(&refused.found, &refused.sources)
        }
        StudyError::Device(DeviceError::NotBuilt | DeviceError::NoDriver(_)) => {
            fail(error, Some("`--device cpu` runs everywhere"), Exit::Request)
        }
        StudyError::Folder(error @ StoreError::OtherExperiment(_)) => {
            refuse_folder(&error, &study.map_or(Vec::new(), Study::differences))
        }
        StudyError::Folder(error) => refuse_folder(&error, &[]),
        StudyError::Train(error @ TrainError::Differs(_)) => fail(error, Some(differs), Exit::TrialFailed),
        StudyError::Train(error) => {
            fail(error, Some("finished trials are kept; run the same command again to go on"), Exit::Storage)
        }
    }
}

/// Trials side by side: as many as were asked for, else as there are processors.
pub fn jobs(asked: Option<u32>) -> usize {
    asked.map_or_else(processors, |jobs| jobs as usize)
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
