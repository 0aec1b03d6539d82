//! What a study says while it runs: a bar on a terminal, plain lines elsewhere, and what happens.

use super::{complain, signals};
use crate::store::manifest::Environment;
use crate::store::record::Record;
use crate::study::{Event, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a plain line is written at most.
const EVERY: Duration = Duration::from_secs(5);

/// Shows a study going on.
pub struct Bar {
    bar: ProgressBar,
    plain: bool,
    quiet: bool,
    state: Mutex<ProgressState>,
}

#[derive(Default)]
struct ProgressState {
    trials: usize,
    of: usize,
    failed: usize,
    loss: Option<f64>,
    said: Option<Instant>,
}

impl Bar {
    /// Says nothing but what went wrong when `quiet`.
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(0);
        let target = if terminal && !quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        bar.set_draw_target(target);
        let template = "[{bar:30}] {percent:>3} %  {msg}  ETA {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Bar { bar, plain: !terminal && !quiet, quiet, state: Mutex::default() }
    }

    /// Says something that is no error.
    fn say(&self, text: &str) {
        if !self.quiet {
            complain(text);
        }
    }

    fn update(&self, change: impl FnOnce(&mut ProgressState)) {
        // A thread that panicked while holding the lock leaves counts that are still good enough to show.
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut state);
        let loss = state.loss.map_or(String::new(), |loss| format!("  loss {loss:.3e}"));
        let failed = if state.failed > 0 { format!(", {} failed", state.failed) } else { String::new() };
        self.bar.set_message(format!("trial {} of {}{failed}{loss}", (state.trials + 1).min(state.of), state.of));
        if self.plain && state.said.get_or_insert_with(Instant::now).elapsed() >= EVERY {
            state.said = Some(Instant::now());
            let share = 100.0 * self.bar.position() as f64 / self.bar.length().unwrap_or(1).max(1) as f64;
            let eta = self.bar.eta().as_secs();
            complain(&format!(
                "{share:.0} %: {} of {} trials done{failed}{loss}, about {eta} s to go\n",
                state.trials, state.of
            ));
        }
    }
}

impl Watch for Bar {
    fn asked(&self, trials: usize, iterations: u64) {
        self.bar.inc_length(iterations);
        self.update(|state| state.of += trials);
    }

    fn advanced(&self, iterations: usize, loss: Option<f64>) {
        self.bar.inc(iterations as u64);
        self.update(|state| state.loss = loss.or(state.loss));
    }

    fn ended(&self, record: &Record) {
        self.update(|state| {
            state.trials += 1;
            state.failed += usize::from(!record.completed());
        });
    }

    fn told(&self, event: &Event<'_>) {
        match event {
            Event::Opened(note) => self.say(&format!("warning: {note}\n")),
            Event::Known { dir, there, planned } => {
                self.say(&format!("{}: {there} of {planned} trials are there already\n", dir.display()));
            }
            Event::Training => signals::training(true),
            Event::Trained => {
                signals::training(false);
                self.bar.finish_and_clear();
            }
            Event::Again { dir, trials, because } => {
                let are = if *trials == 1 { "trial is" } else { "trials are" };
                self.say(&format!("{}: {trials} {are} trained again because {because}\n", dir.display()));
            }
            Event::OtherBits { then, now } => tell_other_bits(then, now),
            Event::Apart { trials, most } => self.say(&format!(
                "note: of the trials that were trained again {trials} differ by rounding, relatively {most:.1e} at most\n"
            )),
            Event::Program(error) => complain(&format!("warning: {error}\n")),
        }
    }
}

/// Says that what runs is not what made some results.
pub fn tell_other_bits(then: &Environment, now: &Environment) {
    complain(&format!(
        "note: the results are of binary {} with {}, this is {} with {}; bits are promised for the same ones only\n",
        then.binary, then.instructions, now.binary, now.instructions
    ));
}
