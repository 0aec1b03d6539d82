//! Programs that provide a dataset or a metric: any executable that speaks JSON lines on its standard input and output.
//!
//! A `manifest` in a `plugins/` folder describes one, so that it is known, checked and listed without being started. A
//! run starts it at its first use, once, and asks it one thing after the other (`protocol`, over a `process`); what a
//! dataset gives is kept in a `cache`. docs/plugins.md is the protocol for those who write programs.
//!
//! Nothing that a program does may stall a run or outlive it: every answer has a deadline and a largest size, and a
//! program that breaks the rules is killed with its children and not asked again. It can still do whatever its user
//! can; so it runs only where the user says so.

mod cache;
mod dataset;
mod manifest;
mod metric;
mod process;
pub mod protocol;

pub use cache::{Cache, NoCache};
pub use dataset::ProgramDataset;
pub use manifest::{MetricKeys, ProgramManifest, Provides};
pub use metric::ProgramMetric;
pub use process::{are_running, kill_all};

use process::Process;
use protocol::{Answer, PROTOCOL, Request};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Bytes of an answer beside its numbers.
const FRAME: usize = 64 * 1024;

/// What a program did wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Nobody said that programs may run.
    #[error("runs only with `--allow-programs`")]
    NotAllowed,
    /// There is no such executable, or it may not be run.
    #[error("cannot be started: {0}")]
    Start(String),
    /// It was too slow.
    #[error("did not answer `{asked}` within {seconds} s{half}")]
    Late {
        /// What it was asked.
        asked: &'static str,
        /// The deadline.
        seconds: f64,
        /// What had come, in words.
        half: String,
    },
    /// An answer that is longer than any right one.
    #[error("answered `{asked}` with a line of more than {most} bytes")]
    TooMuch {
        /// What it was asked.
        asked: &'static str,
        /// The largest answer.
        most: usize,
    },
    /// Its output ended before a line did.
    #[error("stopped in the middle of a line, after `{0}`")]
    HalfLine(String),
    /// It ended.
    #[error("ended before it answered `{asked}` ({status})")]
    Ended {
        /// What it was asked.
        asked: &'static str,
        /// How it ended.
        status: String,
    },
    /// It flooded its standard error.
    #[error("wrote more than {} MiB to its standard error", process::MAX_STDERR >> 20)]
    Flood,
    /// A line that is not JSON.
    #[error("answered `{asked}` with what is not JSON: {why}")]
    NotJson {
        /// What it was asked.
        asked: &'static str,
        /// Where it stopped to be.
        why: String,
    },
    /// JSON that the protocol does not know, or numbers that do not fit.
    #[error("answered `{asked}` wrongly: {why}")]
    Wrong {
        /// What it was asked.
        asked: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Another version of the protocol.
    #[error("speaks version {0} of the protocol, and this runner speaks {PROTOCOL}")]
    Version(u32),
    /// It said itself that it cannot.
    #[error("reports: {0}")]
    Said(String),
    /// It went on after it was told to end.
    #[error("did not end within {0} s after `shutdown`, and was killed")]
    Stays(f64),
}

/// What a program did wrong, and which.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("program `{name}` ({file}) {}{words}", plain(&failure.to_string()))]
pub struct ProgramError {
    /// Its name.
    pub name: String,
    /// Its manifest.
    pub file: String,
    /// What it did.
    pub failure: Failure,
    /// What it said last on its standard error, in words.
    words: String,
}

/// A program that a manifest describes, and its process, if one runs.
pub struct Program {
    /// What is known of it.
    pub manifest: ProgramManifest,
    /// Set where it may run: what it gave is kept there, if anywhere.
    allowed: OnceLock<Option<Arc<Cache>>>,
    state: Mutex<ProcessState>,
}

#[derive(Default)]
struct ProcessState {
    process: Option<Process>,
    /// What it did; it is not asked again.
    broken: Option<ProgramError>,
    /// The number of the last request.
    number: u64,
}

impl Program {
    /// A program that does not run, and may not.
    pub fn new(manifest: ProgramManifest) -> Program {
        Program { manifest, allowed: OnceLock::new(), state: Mutex::default() }
    }

    /// Lets it run: whoever started this run said so. Without a cache it is asked for everything.
    pub fn allow(&self, cache: Option<Arc<Cache>>) {
        // Once allowed, it stays so.
        let _ = self.allowed.set(cache);
    }

    /// Makes sure that it runs and is what its manifest says.
    ///
    /// # Errors
    /// What it did wrong.
    pub fn ready(&self) -> Result<(), ProgramError> {
        self.attempt(&mut self.lock(), |session| session.ready())
    }

    /// Asks for what an id stands for; `numbers` are in a right answer.
    fn ask<T>(
        &self,
        state: &mut ProcessState,
        request: impl FnOnce(u64) -> Request,
        numbers: usize,
        read: impl FnOnce(u64, Answer) -> Result<T, Failure>,
    ) -> Result<T, ProgramError> {
        self.attempt(state, |session| {
            session.ready()?;
            session.state.number += 1;
            let number = session.state.number;
            // A number of JSON has at most 25 characters, and signs around it.
            let answer = session.ask(&request(number), FRAME + 32 * numbers)?;
            read(number, answer)
        })
    }

    /// Ends its process, if one runs; gives what it did wrong even then.
    pub fn stop(&self) -> Option<ProgramError> {
        let mut state = self.lock();
        let mut process = state.process.take()?;
        let ended = process.stop(&protocol::line(&Request::Shutdown));
        (!ended).then(|| self.error(Failure::Stays(process::GRACE.as_secs_f64()), ""))
    }

    fn lock(&self) -> MutexGuard<'_, ProcessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempt<T>(
        &self,
        state: &mut ProcessState,
        body: impl FnOnce(&mut Session<'_>) -> Result<T, Failure>,
    ) -> Result<T, ProgramError> {
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        let allowed = self.allowed.get().is_some();
        body(&mut Session { manifest: &self.manifest, allowed, state }).map_err(|failure| {
            let words = state.process.take().map_or(String::new(), Process::kill);
            let error = self.error(failure, &words);
            state.broken = Some(error.clone());
            error
        })
    }

    fn error(&self, failure: Failure, words: &str) -> ProgramError {
        let words = match words.trim() {
            "" => String::new(),
            words => format!("; its standard error ends with: {}", plain(words)),
        };
        ProgramError { name: self.manifest.name.clone(), file: self.manifest.file.clone(), failure, words }
    }
}

/// Characters of a program's words that are shown.
const SHOWN: usize = 400;

/// What a program says, for people: not more than fits, and nothing that a terminal would obey.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars().take(SHOWN) {
        match c.is_control() || c.escape_debug().len() > 2 {
            true => plain.extend(c.escape_debug()),
            false => plain.push(c),
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        plain += " ...";
    }
    plain
}

impl Drop for Program {
    fn drop(&mut self) {
        // Whoever wants to know how it ended stops it before.
        self.stop();
    }
}

/// A program and its process for the time of some requests.
struct Session<'a> {
    manifest: &'a ProgramManifest,
    allowed: bool,
    state: &'a mut ProcessState,
}

impl Session<'_> {
    /// Starts the process, unless it runs, and compares its description with the manifest.
    fn ready(&mut self) -> Result<(), Failure> {
        if self.state.process.is_some() {
            return Ok(());
        }
        if !self.allowed {
            return Err(Failure::NotAllowed);
        }
        self.state.process = Some(Process::start(&self.manifest.command, &self.manifest.folder)?);
        let provides = self.manifest.provides.as_str();
        let hello = Request::Hello { protocol: PROTOCOL, name: self.manifest.name.clone(), provides };
        match self.ask(&hello, FRAME)? {
            Answer::Hello { protocol: PROTOCOL } => {}
            Answer::Hello { protocol } => return Err(Failure::Version(protocol)),
            other => return Err(other.unexpected("hello", 0)),
        }
        match self.ask(&Request::Describe, FRAME)? {
            Answer::Description(described) => self.manifest.compare(&described),
            other => Err(other.unexpected("describe", 0)),
        }
    }

    fn ask(&mut self, request: &Request, most: usize) -> Result<Answer, Failure> {
        let asked = request.name();
        let timeout = Duration::from_secs_f64(self.manifest.timeout_s);
        let Some(process) = &mut self.state.process else {
            return Err(Failure::Ended { asked, status: "it does not run".into() });
        };
        let line = process.ask(asked, protocol::line(request), most, timeout)?;
        match protocol::answer(asked, &line)? {
            Answer::Error { message } => Err(Failure::Said(message)),
            answer => Ok(answer),
        }
    }
}
