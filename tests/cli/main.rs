//! The binary from the outside: real files in, what it prints and leaves behind out.

mod audit;
mod bad_input;
mod bounded;
mod executors;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod faults;
mod finite;
mod folder;
mod foreign_folders;
mod graph;
mod half_written;
mod held;
mod kept_weights;
mod laying;
mod library;
mod limits;
mod manners;
mod own_units;
mod parquet;
mod parts;
mod plugins;
mod print_back;
mod probe;
mod programs;
mod programs_again;
mod protocol;
mod rates;
mod registry;
mod report;
mod run;
mod seeds;
mod series;
mod strange_files;
mod survive;
mod sweep;
mod tables;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod traced;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A small experiment that trains in milliseconds.
const SMALL: &str = r#"name = "small"

[let]
hidden = 8

[data]
kind = "sqrt"
steps = 12

[[layer]]
name = "hidden_1"
kind = "leaky"
size = "=hidden"
beta = { uniform = [0, 1], learn = true }

[[layer]]
name = "readout"
kind = "leaky"
size = 1
reset = "none"
output = "membrane"

[optimizer]
kind = "adam"
lr = 1e-2

[train]
iterations = 20
loss = "mse"
metrics = ["l1", "nmse"]

[run]
seeds = [0]
"#;

/// A folder of its own, in which the binary runs with an empty environment.
struct Sandbox {
    folder: TempDir,
}

/// What a run gave.
struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Sandbox {
    fn empty() -> Self {
        Sandbox { folder: tempfile::tempdir().unwrap() }
    }

    fn with(name: &str, text: &str) -> Self {
        let sandbox = Self::empty();
        sandbox.write(name, text);
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command.current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command
    }

    fn runner<const N: usize>(&self, arguments: [&str; N]) -> Ran {
        self.command().args(arguments).output().unwrap().into()
    }

    /// A command with the `PATH` that programs are found by, and a place for what they give.
    fn command_with_path(&self) -> Command {
        let mut command = self.command();
        command.env("PATH", std::env::var("PATH").unwrap()).env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// As [`Sandbox::fine`], with [`Sandbox::command_with_path`].
    fn fine_with_path<const N: usize>(&self, arguments: [&str; N]) -> Ran {
        let ran: Ran = self.command_with_path().args(arguments).output().unwrap().into();
        assert_eq!(ran.status, 0, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs and insists on success.
    fn fine<const N: usize>(&self, arguments: [&str; N]) -> Ran {
        let ran = self.runner(arguments);
        assert_eq!(ran.status, 0, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Every experiment of the gallery.
fn gallery() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files
}
