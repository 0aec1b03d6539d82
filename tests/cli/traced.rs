//! The binary with a file layer that fails: it is killed before, or refused, one system call that changes files. Any
//! process is traced by its system calls and their paths.

use super::Sandbox;
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
pub enum Fault {
    /// The process is killed before it.
    Killed,
    /// It fails, as on a disk that is full or broken.
    Refused,
}

/// How a process ended that was traced.
#[derive(Debug)]
pub struct Traced {
    /// Its exit status; none where it was killed.
    pub status: Option<i32>,
    /// Calls that would have changed files.
    pub calls: usize,
    /// The call at which something happened.
    pub hit: Option<String>,
    pub stderr: String,
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
pub fn traced(sandbox: &Sandbox, arguments: &[&str], fault: Option<(usize, Fault)>) -> Option<Traced> {
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
