//! Progress of a study: a bar on a terminal, plain lines elsewhere.

use crate::store::record::Record;
use crate::study::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a plain line is written at most.
const EVERY: Duration = Duration::from_secs(5);

/// Shows a study going on.
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    state: Mutex<State>,
}

struct State {
    trials: usize,
    of: usize,
    failed: usize,
    loss: Option<f64>,
    said: Instant,
}

impl Progress {
    /// For so many trials, and iterations of them all together; says nothing at all when `quiet`.
    pub fn new(trials: usize, iterations: u64, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(iterations);
        let target = if terminal && !quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        bar.set_draw_target(target);
        let template = "[{bar:30}] {percent:>3} %  {msg}  ETA {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        let state = State { trials: 0, of: trials, failed: 0, loss: None, said: Instant::now() };
        Progress { bar, plain: !terminal && !quiet, state: Mutex::new(state) }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        // A thread that panicked while holding the lock leaves counts that are still good enough to show.
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut state);
        let loss = state.loss.map_or(String::new(), |loss| format!("  loss {loss:.3e}"));
        let failed = if state.failed > 0 { format!(", {} failed", state.failed) } else { String::new() };
        self.bar.set_message(format!("trial {} of {}{failed}{loss}", (state.trials + 1).min(state.of), state.of));
        if self.plain && state.said.elapsed() >= EVERY {
            state.said = Instant::now();
            let share = 100.0 * self.bar.position() as f64 / self.bar.length().unwrap_or(1).max(1) as f64;
            let eta = self.bar.eta().as_secs();
            super::complain(&format!(
                "{share:.0} %: {} of {} trials done{failed}{loss}, about {eta} s to go\n",
                state.trials, state.of
            ));
        }
    }
}

impl Watch for Progress {
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
}
