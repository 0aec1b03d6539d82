//! How a study is run, and why it may not be.

use super::runs::Executor;
use super::train::TrainError;
use crate::spec::Overrides;
use crate::spec::diagnostic::Diagnostics;
use crate::spec::source::Sources;
use crate::store::{Opening, StoreError};
use crate::tensor::{DeviceError, DeviceName};
use std::fmt;
use std::path::PathBuf;

/// How a study is run; [`Options::default`] is what `runner FILE` does.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is changed of the experiment file.
    pub overrides: Overrides,
    /// Folders with text plugins, beside `plugins/` next to the experiment and in the working directory.
    pub plugins: Vec<PathBuf>,
    /// What runs the neurons. On other devices than the processor the reference does.
    pub executor: Executor,
    /// Where networks run.
    pub device: DeviceName,
    /// Trials side by side, one thread each.
    pub jobs: usize,
    /// The result folder; where none is named one with the study's name in [`Options::results`].
    pub out: Option<PathBuf>,
    /// The folder of result folders.
    pub results: PathBuf,
    /// What may be done with a folder that is there.
    pub opening: Opening,
    /// Whether programs may be started that the experiment names as its dataset or metrics.
    pub allow_programs: bool,
    /// What the page says repeats the study.
    pub command: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            overrides: Overrides::default(),
            plugins: Vec::new(),
            executor: Executor::Fused,
            device: DeviceName::Cpu,
            jobs: processors(),
            out: None,
            results: "results".into(),
            opening: Opening::default(),
            allow_programs: false,
            command: String::new(),
        }
    }
}

impl Options {
    /// The executor on the device: elsewhere than on the processor the reference.
    pub fn executor(&self) -> Executor {
        self.executor.on(self.device)
    }
}

/// The processors there are.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// What is wrong with an experiment, and the texts in which that stands.
#[derive(Debug)]
pub struct Refused {
    /// All of it.
    pub found: Diagnostics,
    /// What a person should know besides.
    pub notes: Vec<String>,
    /// The texts.
    pub sources: Sources,
}

impl fmt::Display for Refused {
    /// A line a problem: file, line, and what is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.found.list.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            let place = diagnostic.span.map_or(String::new(), |span| {
                let source = self.sources.get(span);
                format!("{}:{}: ", source.name, 1 + source.text[..span.start].matches('\n').count())
            });
            write!(f, "{end}{place}{}", diagnostic.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// Why a study was not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// The request is wrong; nothing was computed or changed.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The folder cannot be opened for this study; nothing was computed.
    #[error(transparent)]
    Folder(StoreError),
    /// It could not go on. What had finished is kept.
    #[error(transparent)]
    Train(#[from] TrainError),
}
