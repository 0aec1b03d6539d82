//! Signals: INT, TERM and HUP end every command within a moment; one that was ignored when the process started stays so.
//!
//! Trials that are trained are put down where their next iteration ends. Everything else is left at once: files of a
//! result folder are whole or absent, and the same command goes on. A second signal leaves trials, too.

use super::{Exit, complain};
use crate::program;
use crate::store::files::remove_unfinished;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long tables and page may take once trials are put down.
const MOMENT: Duration = Duration::from_millis(800);
/// How long trials may take to be put down, so that none of their work is lost; a large network takes a while.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a last message may take: nobody may be reading.
const LAST_WORDS: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(5);

static STOP: AtomicBool = AtomicBool::new(false);
static TRAINING: AtomicBool = AtomicBool::new(false);
/// Whether the process is being left.
static LEFT: AtomicBool = AtomicBool::new(false);
/// Whether there are results that a run of the same command finds.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Handles signals from now on. To be called before there are other threads.
///
/// # Errors
/// Where the process handles them already.
pub fn handle() -> Result<(), ctrlc::Error> {
    keep_ignored();
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) || !TRAINING.load(Ordering::SeqCst) {
            leave();
        }
        std::thread::spawn(put_down);
    })
}

/// Set where trials are to be put down.
pub fn stop() -> &'static AtomicBool {
    &STOP
}

/// Says whether trials are being trained. While they are a first signal does no more than to set [`stop`].
pub fn training(on: bool) {
    if on {
        KEPT.store(true, Ordering::SeqCst);
    }
    TRAINING.store(on, Ordering::SeqCst);
}

/// Does not come back where a signal is ending the process, which then has its status.
pub fn let_end() {
    while LEFT.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// Waits for trials to be put down, and a moment longer.
fn put_down() {
    let begun = Instant::now();
    let mut said = false;
    // What a program takes to answer may be anything.
    let patience = if program::are_running() { MOMENT } else { PATIENCE };
    while TRAINING.load(Ordering::SeqCst) && begun.elapsed() < patience {
        if !said && begun.elapsed() > MOMENT {
            complain("stopping when the iterations that are computed end; a second signal ends at once\n");
            said = true;
        }
        std::thread::sleep(LOOK);
    }
    if !TRAINING.load(Ordering::SeqCst) {
        std::thread::sleep(MOMENT);
    }
    leave();
}

/// Ends the process; its programs and half-written files with it.
fn leave() -> ! {
    LEFT.store(true, Ordering::SeqCst);
    program::kill_all();
    let _held = remove_unfinished();
    let kept = if KEPT.load(Ordering::SeqCst) { ": finished trials are kept; the same command goes on" } else { "" };
    let words = std::thread::spawn(move || complain(&format!("interrupted{kept}\n")));
    let begun = Instant::now();
    while !words.is_finished() && begun.elapsed() < LAST_WORDS {
        std::thread::sleep(LOOK);
    }
    std::process::exit(Exit::Interrupted as i32);
}

/// Blocks, for all threads to come, what the caller ignores (`nohup`): a handler would take that away. And the signal of a
/// limit on sizes of files, so that writing says what is wrong instead of dying of it.
#[cfg(unix)]
fn keep_ignored() {
    use nix::sys::signal::{SigSet, Signal};
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let ignored = |signal: Signal| mask.unwrap_or(0) >> (signal as i32 - 1) & 1 == 1;
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]
        .into_iter()
        .filter(|signal| ignored(*signal))
        .for_each(|signal| blocked.add(signal));
    // Where the system refuses this, signals do what they would do anyway.
    let _ = blocked.thread_block();
}

#[cfg(not(unix))]
fn keep_ignored() {}
