//! The command line: one file a command. Everything that is printed is printed here.

mod check;
mod compare;
mod diff;
mod explain;
mod export;
mod init;
mod new;
mod predict;
mod probe;
mod progress;
mod refusal;
mod registry;
mod render;
mod report;
mod results;
mod run;
mod signals;
mod summary;
mod verify;

use crate::registry::{Crate, Registry};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::shown::{escaped, shown};
use crate::spec::source::Sources;
use crate::store::StoreError;
use crate::study::Plan;
use clap::{Args, Parser, Subcommand};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything completed.
    Fine = 0,
    /// A trial failed.
    TrialFailed = 1,
    /// The request was wrong; nothing was computed or changed.
    Request = 2,
    /// Results could not be stored after work began.
    Storage = 3,
    /// Stopped by a signal.
    Interrupted = 130,
}

/// Train spiking neural networks from a file: networks, seeds and sweeps in TOML, results in Parquet and one page.
#[derive(Parser)]
#[command(name = "runner", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Train what experiment files describe (the same as `runner FILE...`)
    Run(run::RunArgs),
    /// Check experiment files and show the resolved network, without computing anything
    Check(check::CheckArgs),
    /// List the components that experiments can name
    List(PluginArgs),
    /// Show a component: what it is, its equations and its keys
    Show(registry::ShowArgs),
    /// Draw a neuron's impulse response, step response and firing rates
    Probe(probe::ProbeArgs),
    /// Print a JSON Schema of experiment files
    Schema(PluginArgs),
    /// Put a first experiment, the gallery and a plugin template into a folder
    Init(init::InitArgs),
    /// Begin a text plugin of your own from a commented template
    New(new::NewArgs),
    /// Apply the kept weights of a result folder to new rows
    Predict(predict::PredictArgs),
    /// Make plots and page of a result folder again
    Report(report::ReportArgs),
    /// List the studies below a folder, and how far they are
    Results(results::ResultsArgs),
    /// Run trials of a result folder again and compare them with what is stored, bit for bit
    Verify(verify::VerifyArgs),
    /// Say what a trial's id is made of, and which of it an experiment file changes
    Explain(explain::ExplainArgs),
    /// Hold every configuration of a sweep against a named one, with a test over the seeds that both have
    Compare(compare::CompareArgs),
    /// Say what differs between two result folders, with a test over the seeds that both have
    Diff(diff::DiffArgs),
    /// Write tables as CSV, or losses for TensorBoard
    Export(export::ExportArgs),
}

/// Where plugins are looked for.
#[derive(Args, Clone, Default)]
pub struct PluginArgs {
    /// A folder with text plugins, beside `plugins/` next to the experiment and in the working directory
    #[arg(long, value_name = "DIR")]
    plugins: Vec<PathBuf>,
}

/// Runs the program for the process's arguments, with the components of some crates beside the built-in ones, and gives
/// its exit status.
///
/// # Panics
/// Where two components have one name.
pub fn run(crates: &[Crate]) -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                complain(&error.render().to_string());
                return error.exit_code() as u8;
            }
            print(&error.render().to_string());
            return printed(Exit::Fine) as u8;
        }
    };
    if let Err(error) = signals::handle() {
        return fail(format!("signals cannot be handled: {error}"), None, Exit::Request) as u8;
    }
    let exit = match cli.command {
        None => run::run(&cli.run, crates),
        Some(Command::Run(args)) => run::run(&args, crates),
        Some(Command::Check(args)) => check::check(&args, crates),
        Some(Command::List(args)) => registry::list(&args, crates),
        Some(Command::Show(args)) => registry::show(&args, crates),
        Some(Command::Probe(args)) => probe::probe(&args, crates),
        Some(Command::Schema(args)) => registry::schema(&args, crates),
        Some(Command::Init(args)) => init::init(&args),
        Some(Command::New(args)) => new::new(&args, crates),
        Some(Command::Predict(args)) => predict::predict(&args, crates),
        Some(Command::Report(args)) => report::report(&args),
        Some(Command::Results(args)) => results::results(&args),
        Some(Command::Verify(args)) => verify::verify(&args, crates),
        Some(Command::Explain(args)) => explain::explain(&args, crates),
        Some(Command::Compare(args)) => compare::compare(&args),
        Some(Command::Diff(args)) => diff::diff(&args),
        Some(Command::Export(args)) => export::export(&args),
    };
    signals::let_end();
    printed(exit) as u8
}

/// The status of a command whose output may not have been written: then that is said, and the worst that there is.
fn printed(exit: Exit) -> Exit {
    let flushed = std::io::stdout().lock().flush();
    let unwritten = UNWRITTEN.lock().ok().and_then(|mut first| first.take());
    match unwritten.or(flushed.err()).filter(|error| error.kind() != std::io::ErrorKind::BrokenPipe) {
        None => exit,
        Some(error) => {
            let help = "what was to be printed is not complete; files that were written are";
            let said = fail(format!("standard output cannot be written: {error}"), Some(help), Exit::Storage);
            if exit == Exit::Interrupted { exit } else { said }
        }
    }
}

/// Why output could not be written, the first time.
static UNWRITTEN: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// The built-in components, those of crates, and the plugins that can be found for some experiment files.
fn load_registry(
    crates: &[Crate],
    files: &[PathBuf],
    plugins: &PluginArgs,
    sources: &mut Sources,
) -> Result<Registry, Diagnostics> {
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    Registry::beside(crates, &files, &plugins.plugins, sources)
}

/// Says once of each plugin that cannot be used why that is.
fn tell_broken(registry: &Registry, sources: &Sources) {
    registry.unusable(sources).iter().for_each(|text| note(text));
}

/// Notes that were said.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Says something that a reader should know, once.
fn note(text: &str) {
    if SAID.lock().is_ok_and(|mut said| said.insert(text.into())) {
        complain(&format!("note: {text}\n"));
    }
}

/// Prints words for people to standard output; what would steer a terminal is shown, not sent.
fn print(text: &str) {
    write_out(&shown(text));
}

/// Prints lines of JSON or TOML, which stay what they are for programs that read them.
fn print_code(text: &str) {
    write_out(&escaped(text));
}

/// What goes wrong is said when the command ends; a reader that went away is no mistake.
fn write_out(text: &str) {
    if let Err(error) = std::io::stdout().lock().write_all(text.as_bytes())
        && let Ok(mut first) = UNWRITTEN.lock()
    {
        first.get_or_insert(error);
    }
}

/// Says what a reader should know of a plan.
fn tell_notes(plan: &Plan) {
    plan.configurations.notes.iter().for_each(|note| complain(&format!("note: {note}\n")));
}

/// Prints words for people to standard error; what would steer a terminal is shown, not sent.
fn complain(text: &str) {
    write_err(&shown(text));
}

fn write_err(text: &str) {
    // Where this fails nothing is left to say so.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints all that is wrong with a request.
fn refuse(found: &Diagnostics, sources: &Sources) -> Exit {
    write_err(&render::diagnostics(found, sources));
    Exit::Request
}

/// What is to be done with a table that cannot be read.
const AGAIN: &str = "remove the file, and the command that made the folder makes it again";

/// Refuses a folder that cannot be read; `takes` is how a command is called and what it takes, such as
/// "report` takes a folder".
fn refuse_unreadable(error: &StoreError, takes: &str) -> Exit {
    if let Some(exit) = out_of_order(error) {
        return exit;
    }
    let takes = || format!("`runner {takes} that `runner FILE` made");
    let help = match error {
        StoreError::NoResults(_) => Some(takes()),
        StoreError::Table { .. } => Some(AGAIN.into()),
        _ => None,
    };
    fail(error, help.as_deref(), Exit::Request)
}

/// What Unix calls `EIO`: a device could not read or write. The standard library has no kind for it.
const INPUT_OUTPUT: i32 = 5;

/// Says so where a disk is full or broken, which is not the fault of the request.
fn out_of_order(error: &StoreError) -> Option<Exit> {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let StoreError::Io { error: io, .. } = error else { return None };
    let help = match io.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            "make room (`df`, `quota` and `ulimit -f` say how much there is), then give the same command again"
        }
        _ if cfg!(unix) && io.raw_os_error() == Some(INPUT_OUTPUT) => {
            "the disk does not work (`dmesg` says more); once it does, give the same command again"
        }
        _ => return None,
    };
    Some(fail(error, Some(help), Exit::Storage))
}

/// Prints one error that is not about a place in a file.
fn fail(error: impl std::fmt::Display, help: Option<&str>, exit: Exit) -> Exit {
    let help = help.map_or(String::new(), |help| format!("  = help: {help}\n"));
    complain(&format!("error: {error}\n{help}"));
    exit
}
