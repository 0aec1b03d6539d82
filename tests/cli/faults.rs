//! A file layer that fails: the binary is killed before, or refused, each single system call that changes files, one
//! after the other. The same command then goes on, to the final bits.
//!
//! What is traced is any process by its system calls and their paths; a scenario is a folder and a command. A few calls of
//! each, evenly spread, are tried; all of them with `RUNNER_FAULTS=all`, whose counts are printed (`--nocapture`). Where
//! processes may not be traced that is said, and nothing is tried.

use super::run::assert_same_content;
use super::{SMALL, Sandbox};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The process is killed before it.
    Killed,
    /// It fails, as on a disk that is full or broken.
    Refused,
}

/// How a process ended that was traced.
#[derive(Debug)]
struct Traced {
    /// Its exit status; none where it was killed.
    status: Option<i32>,
    /// Calls that would have changed files.
    calls: usize,
    /// The call at which something happened.
    hit: Option<String>,
    stderr: String,
}

/// System calls of x86-64 that change files: number, name, and which argument says of what file: a descriptor, or a path.
const CALLS: [(u64, &str, Argument); 20] = [
    (1, "write", Argument::Descriptor(0)),
    (18, "pwrite64", Argument::Descriptor(0)),
    (20, "writev", Argument::Descriptor(0)),
    (40, "sendfile", Argument::Descriptor(0)),
    (74, "fsync", Argument::Descriptor(0)),
    (75, "fdatasync", Argument::Descriptor(0)),
    (77, "ftruncate", Argument::Descriptor(0)),
    (285, "fallocate", Argument::Descriptor(0)),
    (326, "copy_file_range", Argument::Descriptor(2)),
    (2, "open", Argument::Opened(0, 1)),
    (257, "openat", Argument::Opened(1, 2)),
    (76, "truncate", Argument::Path(0)),
    (82, "rename", Argument::Path(0)),
    (264, "renameat", Argument::Path(1)),
    (316, "renameat2", Argument::Path(1)),
    (87, "unlink", Argument::Path(0)),
    (263, "unlinkat", Argument::Path(1)),
    (83, "mkdir", Argument::Path(0)),
    (258, "mkdirat", Argument::Path(1)),
    (84, "rmdir", Argument::Path(0)),
];

#[derive(Debug, Clone, Copy)]
enum Argument {
    Descriptor(usize),
    Path(usize),
    /// A path, and flags that say whether the file is to be written.
    Opened(usize, usize),
}

/// `O_WRONLY`, `O_RDWR`, `O_CREAT` and `O_TRUNC`.
const WRITES: u64 = 0o1 | 0o2 | 0o100 | 0o1000;

/// The text at an address of a process.
fn text_at(pid: Pid, address: u64) -> String {
    let mut bytes = vec![0; 4096];
    let read = File::open(format!("/proc/{pid}/mem")).and_then(|memory| memory.read_at(&mut bytes, address));
    let read = read.unwrap_or(0);
    let end = bytes[..read].iter().position(|byte| *byte == 0).unwrap_or(read);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The call that a process begins, with its file, if it changes one in a folder. Relative paths lie in it.
fn changes(pid: Pid, folder: &Path) -> Option<(&'static str, String)> {
    let registers = ptrace::getregs(pid).ok()?;
    let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
    let (_, name, argument) = CALLS.iter().find(|(number, ..)| *number == registers.orig_rax)?;
    let path = match *argument {
        Argument::Descriptor(at) => {
            let link = fs::read_link(format!("/proc/{pid}/fd/{}", arguments[at] as i32)).ok()?;
            link.to_string_lossy().into_owned()
        }
        Argument::Path(at) => text_at(pid, arguments[at]),
        Argument::Opened(at, flags) if arguments[flags] & WRITES != 0 => text_at(pid, arguments[at]),
        Argument::Opened(..) => return None,
    };
    let inside = Path::new(&path).is_relative() || Path::new(&path).starts_with(folder);
    inside.then_some((name, path))
}

/// Runs the binary in a sandbox; at the `n`-th call that changes files, the first being 1, something happens. None where
/// processes cannot be traced.
#[expect(clippy::zombie_processes, reason = "it is waited for together with its threads")]
fn traced(sandbox: &Sandbox, arguments: &[&str], fault: Option<(usize, Fault)>) -> Option<Traced> {
    let said = tempfile::NamedTempFile::new().unwrap();
    let folder = sandbox.folder.path().canonicalize().unwrap();
    // The shell waits to be traced, and then becomes the binary.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_runner")]).args(arguments);
    command.current_dir(&folder).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let process = Pid::from_raw(child.id() as i32);
    let stopped = || fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") T "));
    super::folder::wait_for(stopped);
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    if let Err(error) = ptrace::seize(process, options) {
        println!("processes cannot be traced here: {error}");
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    }
    kill(process, Signal::SIGCONT).unwrap();
    let (begun, mut calls, mut hit) = (Instant::now(), 0, None);
    let (mut inside, mut refused) = (HashSet::new(), None);
    let status = loop {
        // Other tests of this process have children, too.
        let waited =
            waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG)).unwrap();
        let (pid, signal) = match waited {
            WaitStatus::StillAlive => {
                assert!(begun.elapsed() < Duration::from_secs(60), "{arguments:?} {fault:?} {hit:?} does not end");
                std::thread::sleep(Duration::from_micros(20));
                continue;
            }
            WaitStatus::Exited(pid, status) if pid == process => break Some(status),
            WaitStatus::Signaled(pid, ..) if pid == process => break None,
            WaitStatus::PtraceSyscall(pid) => {
                if inside.remove(&pid) {
                    if refused.take_if(|(refused, _)| *refused == pid).is_some()
                        && let Ok(mut registers) = ptrace::getregs(pid)
                    {
                        let disk = hit.as_ref().is_some_and(|hit: &String| {
                            ["fsync", "fdatasync", "rename", "unlink", "rmdir"].iter().any(|name| hit.starts_with(name))
                        });
                        let errno = if disk { Errno::EIO } else { Errno::ENOSPC };
                        registers.rax = (-(errno as i64)) as u64;
                        let _ = ptrace::setregs(pid, registers);
                    }
                } else {
                    inside.insert(pid);
                    if let Some((name, path)) = changes(pid, &folder) {
                        calls += 1;
                        let now = fault.filter(|(n, _)| *n == calls).map(|(_, fault)| fault);
                        hit = hit.or_else(|| now.map(|_| format!("{name} {path}")));
                        match now {
                            Some(Fault::Killed) => kill(process, Signal::SIGKILL).unwrap(),
                            Some(Fault::Refused) => {
                                // No call has this number, so that nothing is done.
                                let mut registers = ptrace::getregs(pid).unwrap();
                                registers.orig_rax = u64::MAX;
                                ptrace::setregs(pid, registers).unwrap();
                                refused = Some((pid, ()));
                            }
                            None => {}
                        }
                    }
                }
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) if signal != Signal::SIGTRAP && signal != Signal::SIGSTOP => {
                (pid, Some(signal))
            }
            other => match other.pid() {
                Some(pid) => (pid, None),
                None => continue,
            },
        };
        // A thread may be gone by now.
        let _ = ptrace::syscall(pid, signal);
    };
    // The shell's own calls, of which it has none that changes files, were made before.
    let stderr = fs::read_to_string(said.path()).unwrap();
    Some(Traced { status, calls, hit, stderr })
}

/// A command on a folder that is made for it.
struct Scenario {
    name: &'static str,
    /// Files that lie beside the experiment, and commands that were given before.
    before: &'static [&'static [&'static str]],
    /// The command whose calls fail, and that is then given again.
    command: &'static [&'static str],
    /// Whether what was finished before must still be there whatever happens.
    keeps: bool,
    /// Whether the command was killed once before, with some trials in its journal.
    cut: bool,
}

/// Checkpoints, the best weights, a validation part is not needed: every kind of file of a folder.
fn experiment() -> String {
    SMALL
        .replace("steps = 12", "steps = 12\nsamples = 7")
        .replace("iterations = 20", "iterations = 40\nbatch = 3\nselect = \"best\"\nwatch = true\nsave_every = 15")
}

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "a first run",
        before: &[],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..3", "--out", "out"],
        keeps: false,
        cut: false,
    },
    Scenario {
        name: "a growth",
        before: &[&["small.toml", "--seeds", "0..2", "--out", "out"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..4", "--out", "out"],
        keeps: true,
        cut: false,
    },
    Scenario {
        name: "a growth of which every record is synced",
        before: &[&["small.toml", "--seeds", "0..2", "--out", "out"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..3", "--out", "out", "--sync", "every"],
        keeps: true,
        cut: false,
    },
    Scenario {
        name: "--fresh over another experiment",
        before: &[&["small.toml", "--seeds", "0..2", "--out", "out", "--set", "optimizer.lr=0.5"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..3", "--out", "out", "--fresh"],
        keeps: false,
        cut: false,
    },
    Scenario {
        name: "best weights alone, after all of them",
        before: &[&["small.toml", "--seeds", "0..3", "--out", "out"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..4", "--out", "out", "--set", "run.save=best"],
        keeps: true,
        cut: false,
    },
    Scenario {
        name: "a compaction of what a killed run left",
        before: &[&["small.toml", "--seeds", "0..2", "--out", "out"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..5", "--out", "out"],
        keeps: true,
        cut: true,
    },
    Scenario {
        name: "two workers",
        before: &[],
        command: &["small.toml", "--jobs", "2", "--seeds", "0..4", "--out", "out"],
        keeps: false,
        cut: false,
    },
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// Temporary files and checkpoints below a folder.
fn unfinished(folder: &Path) -> Vec<String> {
    let mut list = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            list.extend(unfinished(&entry.path()));
        } else if [".part", ".state"].iter().any(|end| entry.file_name().to_string_lossy().ends_with(end)) {
            list.push(entry.path().display().to_string());
        }
    }
    list
}

/// Trials that the tables or journals of a folder have.
fn finished(sandbox: &Sandbox) -> usize {
    let ran = sandbox.runner(["results", "out"]);
    let line = ran.stdout.lines().nth(1).unwrap_or_default().to_string();
    line.split_whitespace().nth(2).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> super::Ran {
    sandbox.command().args(arguments).output().unwrap().into()
}

/// Tries the calls of a scenario; says how many there are and how many were tried.
fn tried(scenario: &Scenario) -> Option<(usize, usize)> {
    let all = std::env::var("RUNNER_FAULTS").is_ok_and(|which| which == "all");
    let begin = Sandbox::with("small.toml", &experiment());
    scenario.before.iter().for_each(|command| assert_eq!(run(&begin, command).status, 0));
    let sandbox = || {
        let sandbox = Sandbox::empty();
        copy(begin.folder.path(), sandbox.folder.path());
        sandbox
    };
    if scenario.cut {
        let calls = traced(&sandbox(), scenario.command, None)?.calls;
        let before = finished(&begin);
        traced(&begin, scenario.command, Some((calls / 2, Fault::Killed)))?;
        assert!(finished(&begin) > before, "it was killed too early to leave a record");
    }
    let there = if scenario.keeps { finished(&begin) } else { 0 };
    let whole = sandbox();
    let calls = traced(&whole, scenario.command, None)?.calls;
    let expected = whole.path("out");
    assert!(calls > 20, "{}: {calls} calls that change files", scenario.name);
    let few: Vec<usize> = (0..4).map(|i| 1 + i * (calls - 1) / 3).collect();
    let mut count = 0;
    for n in if all { (1..=calls).collect() } else { few } {
        for fault in [Fault::Killed, Fault::Refused] {
            let sandbox = sandbox();
            let broken = traced(&sandbox, scenario.command, Some((n, fault))).unwrap();
            let at =
                format!("{}: {fault:?} at call {n} of {calls}, {:?}\n{}", scenario.name, broken.hit, broken.stderr);
            match (fault, broken.status) {
                (Fault::Killed, None) | (Fault::Refused, Some(0 | 2 | 3)) => {}
                // With several workers there may be fewer calls this time.
                (_, Some(0)) if broken.hit.is_none() => {}
                (_, status) => panic!("ended with {status:?}, {at}"),
            }
            if fault == Fault::Refused && broken.status != Some(0) {
                assert!(broken.stderr.contains("error: ") && !broken.stderr.contains("panicked"), "{at}");
            }
            assert!(finished(&sandbox) >= there, "{at}");
            let again = run(&sandbox, scenario.command);
            assert_eq!(again.status, 0, "{at}\nand then: {}", again.stderr);
            assert_same_content(&sandbox.path("out"), &expected);
            assert_eq!(unfinished(&sandbox.path("out")), [""; 0], "{at}");
            count += 1;
        }
    }
    Some((calls, count))
}

#[test]
fn whatever_call_fails_the_same_command_goes_on_to_the_final_bits() {
    for scenario in &SCENARIOS {
        let Some((calls, count)) = tried(scenario) else { return };
        println!("{}: {calls} calls that change files, {count} faults tried", scenario.name);
    }
}

/// A page is made again whatever became of it.
#[test]
fn whatever_call_of_a_report_fails_the_next_report_is_whole() {
    let begin = Sandbox::with("small.toml", &experiment());
    begin.fine(["small.toml", "--seeds", "0..2", "--out", "out"]);
    let sandbox = || {
        let sandbox = Sandbox::empty();
        copy(begin.folder.path(), sandbox.folder.path());
        sandbox
    };
    let whole = sandbox();
    let Some(Traced { calls, .. }) = traced(&whole, &["report", "out"], None) else { return };
    let page = |sandbox: &Sandbox| fs::read(sandbox.path("out/report.html")).unwrap();
    let all = std::env::var("RUNNER_FAULTS").is_ok_and(|which| which == "all");
    let few: Vec<usize> = (0..4).map(|i| 1 + i * (calls - 1) / 3).collect();
    let mut count = 0;
    for n in if all { (1..=calls).collect() } else { few } {
        for fault in [Fault::Killed, Fault::Refused] {
            let sandbox = sandbox();
            let broken = traced(&sandbox, &["report", "out"], Some((n, fault))).unwrap();
            let at = format!("{fault:?} at call {n} of {calls}, {:?}\n{}", broken.hit, broken.stderr);
            assert!(broken.status.is_none_or(|status| [0, 2, 3].contains(&status)), "{:?} {at}", broken.status);
            assert!(page(&sandbox) == page(&begin) || page(&sandbox) == page(&whole), "half a page, {at}");
            sandbox.fine(["report", "out"]);
            assert!(page(&sandbox) == page(&whole), "{at}");
            assert_same_content(&sandbox.path("out"), &begin.path("out"));
            count += 1;
        }
    }
    println!("a report: {calls} calls that change files, {count} faults tried");
}
