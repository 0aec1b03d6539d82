//! A process with its children as one group: asked a line, it answers a line, or it is killed.
//!
//! Three threads read and write its pipes, so that a program that does not read, does not stop to write, or floods its
//! standard error blocks nobody; memory is bounded by the largest answer. They end with their pipes; one whose pipe
//! a stray descendant holds open is left behind until the run ends.

use super::Failure;
use crate::spec::source::path_of;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of standard error after which a program is killed.
pub const MAX_STDERR: usize = 16 << 20;
/// How long a program may take to end after it was told to.
pub const GRACE: Duration = Duration::from_secs(1);
/// Bytes of standard error that are kept for messages.
const LAST_WORDS: usize = 300;
/// How long the standard error of a dead process is waited for.
const LAST_LOOK: Duration = Duration::from_millis(500);
/// How often a waiting run looks whether the process still lives.
const LOOK: Duration = Duration::from_millis(20);

/// Groups of processes that run.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Kills every program that runs, with its children: for a run that ends in a hurry.
pub fn kill_all() {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|group| kill_group(*group));
}

/// Whether programs run.
pub fn are_running() -> bool {
    !GROUPS.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}

/// What came out of a process.
enum Heard {
    Line(Vec<u8>),
    /// More than the largest answer, without an end of line.
    TooMuch,
    /// No more; what stood behind the last end of line.
    End(Vec<u8>),
}

/// What a process wrote to its standard error.
#[derive(Default)]
struct Errors {
    last: Mutex<Vec<u8>>,
    flooded: AtomicBool,
    /// Whether all of it was read.
    read: AtomicBool,
}

/// A process that runs.
pub struct Process {
    child: Child,
    /// Lines to be written; dropped, its standard input is closed.
    requests: Option<Sender<Vec<u8>>>,
    events: Receiver<Heard>,
    /// The largest line that is read.
    most: Arc<AtomicUsize>,
    /// Bytes of a line that has not ended.
    half: Arc<AtomicUsize>,
    errors: Arc<Errors>,
    ended: bool,
}

impl Process {
    /// Starts a command in a folder.
    pub fn start(command: &[String], folder: &Path) -> Result<Process, Failure> {
        let failed = |why: String| Failure::Start(format!("`{}`: {why}", command.join(" ")));
        let [program, arguments @ ..] = command else { return Err(failed("there is no command".into())) };
        let mut command = Command::new(path_of(program));
        command.args(arguments).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        own_group(&mut command);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let group = child.id();
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        let (most, half) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let errors = Arc::new(Errors::default());
        let (requests, to_write) = mpsc::channel();
        let (to_events, events) = mpsc::sync_channel(1);
        if let Some(pipe) = child.stdin.take() {
            std::thread::spawn(move || write_lines(pipe, &to_write));
        }
        if let Some(pipe) = child.stdout.take() {
            let (most, half) = (most.clone(), half.clone());
            std::thread::spawn(move || read_lines(pipe, &most, &half, &to_events));
        }
        if let Some(pipe) = child.stderr.take() {
            let errors = errors.clone();
            std::thread::spawn(move || {
                read_errors(pipe, group, &errors);
                errors.read.store(true, Ordering::Release);
            });
        }
        Ok(Process { child, requests: Some(requests), events, most, half, errors, ended: false })
    }

    /// Writes a line and waits for one of at most `most` bytes.
    pub fn ask(
        &mut self,
        asked: &'static str,
        line: Vec<u8>,
        most: usize,
        timeout: Duration,
    ) -> Result<Vec<u8>, Failure> {
        self.most.store(most, Ordering::Relaxed);
        if let Some(requests) = &self.requests {
            // A process that reads no more is noticed where it does not answer.
            let _ = requests.send(line);
        }
        let deadline = Instant::now() + timeout;
        let mut seen_dead = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left.min(LOOK)) {
                Ok(Heard::Line(line)) => return Ok(line),
                Ok(Heard::TooMuch) => return Err(Failure::TooMuch { asked, most }),
                Ok(Heard::End(rest)) => return Err(self.end(asked, &rest)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.end(asked, &[])),
                // Its last line may be under way when it is first seen dead, or a child holds its output open.
                Err(RecvTimeoutError::Timeout) => match (seen_dead, self.child.try_wait()) {
                    (Some(status), _) if left.is_zero() || self.half.load(Ordering::Relaxed) == 0 => {
                        return Err(self.ended(asked, status));
                    }
                    (_, Ok(Some(status))) => seen_dead = Some(status),
                    _ if left.is_zero() => return Err(self.late(asked, timeout)),
                    _ => {}
                },
            }
        }
    }

    /// Tells it to end, waits for a moment, and kills what is left of its group; whether it ended by itself.
    pub fn stop(&mut self, shutdown: &[u8]) -> bool {
        if let Some(requests) = self.requests.take() {
            let _ = requests.send(shutdown.to_vec());
        }
        let deadline = Instant::now() + GRACE;
        let mut ended = false;
        while !ended && Instant::now() < deadline {
            ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if !ended {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.finish();
        ended
    }

    /// Kills it and its children; gives what it last wrote to its standard error.
    pub fn kill(mut self) -> String {
        self.finish();
        // Its last words may still be in the pipe, which a stray descendant may hold open.
        let deadline = Instant::now() + LAST_LOOK;
        while !self.errors.read.load(Ordering::Acquire) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let last = self.errors.last.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&last).trim().replace('\n', " | ")
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let group = self.child.id();
            kill_group(group);
            // Killed or ended, it is there to be waited for; that somebody else did so changes nothing.
            let _ = self.child.wait();
            GROUPS.lock().unwrap_or_else(PoisonError::into_inner).remove(&group);
        }
    }

    fn late(&self, asked: &'static str, timeout: Duration) -> Failure {
        let half = match self.half.load(Ordering::Relaxed) {
            0 => String::new(),
            bytes => format!("; {bytes} bytes of a line without an end came"),
        };
        Failure::Late { asked, seconds: timeout.as_secs_f64(), half }
    }

    /// Why its output ended.
    fn end(&mut self, asked: &'static str, rest: &[u8]) -> Failure {
        if !rest.is_empty() && !self.errors.flooded.load(Ordering::Relaxed) {
            let start = String::from_utf8_lossy(&rest[..rest.len().min(60)]).escape_debug().to_string();
            return Failure::HalfLine(start);
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return self.ended(asked, status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Failure::Ended { asked, status: "it closed its standard output".into() }
    }

    fn ended(&self, asked: &'static str, status: ExitStatus) -> Failure {
        match self.errors.flooded.load(Ordering::Relaxed) {
            true => Failure::Flood,
            false => Failure::Ended { asked, status: status.to_string() },
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.finish();
    }
}

fn write_lines(mut pipe: impl Write, lines: &Receiver<Vec<u8>>) {
    for line in lines {
        if pipe.write_all(&line).and_then(|()| pipe.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(mut pipe: impl Read, most: &AtomicUsize, half: &AtomicUsize, events: &SyncSender<Heard>) {
    let (mut line, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = match pipe.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for part in piece[..read].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            let event = if line.len() > most.load(Ordering::Relaxed) {
                Heard::TooMuch
            } else if line.ends_with(b"\n") {
                Heard::Line(std::mem::take(&mut line))
            } else {
                continue;
            };
            // What follows a line that is too long is not read.
            let last = matches!(event, Heard::TooMuch);
            half.store(0, Ordering::Relaxed);
            if events.send(event).is_err() || last {
                return;
            }
        }
        half.store(line.len(), Ordering::Relaxed);
    }
    // Nobody may wait for it any more.
    let _ = events.send(Heard::End(line));
}

fn read_errors(mut pipe: impl Read, group: u32, errors: &Errors) {
    let mut piece = vec![0; 16 * 1024];
    let mut total = 0;
    while let Ok(read) = pipe.read(&mut piece) {
        if read == 0 {
            return;
        }
        total += read;
        let mut last = errors.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.extend_from_slice(&piece[..read]);
        let surplus = last.len().saturating_sub(LAST_WORDS);
        last.drain(..surplus);
        if total > MAX_STDERR {
            last.clear();
            errors.flooded.store(true, Ordering::Relaxed);
            kill_group(group);
            return;
        }
    }
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(unix)]
fn kill_group(group: u32) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    if let Ok(group) = i32::try_from(group) {
        // A group that is gone needs no signal.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

#[cfg(not(unix))]
fn own_group(_: &mut Command) {}

#[cfg(not(unix))]
fn kill_group(_: u32) {}
