//! A metric that a program computes.

use super::Program;
use super::protocol::{Answer, Cube, Request};
use crate::train::Metric;
use crate::train::metric::{Compared, MetricError, Places};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A program's metric with its keys read.
pub struct ProgramMetric {
    program: Arc<Program>,
    keys: Map<String, Value>,
    history: bool,
}

impl ProgramMetric {
    /// The metric, in the history or not, for the values of the program's own keys.
    pub fn new(program: Arc<Program>, history: bool, keys: Map<String, Value>) -> ProgramMetric {
        ProgramMetric { program, keys, history }
    }
}

impl Metric for ProgramMetric {
    fn score(&self, compared: Compared<'_>) -> Result<f64, MetricError> {
        let lengths = lengths(&compared);
        let cube = |values: &[f64]| -> Cube<f64> {
            let mut rows = values.chunks(compared.channels.max(1)).map(<[f64]>::to_vec);
            lengths.iter().map(|length| rows.by_ref().take(*length).collect()).collect()
        };
        let request = |id| Request::Score {
            id,
            keys: self.keys.clone(),
            output: cube(compared.output),
            target: cube(compared.target),
            present: compared.places.and_then(present),
        };
        let read = |number: u64, answer: Answer| match answer {
            // JSON has no NaN and no Infinity, so the value is finite.
            Answer::Score { id, value } if id == number => Ok(value),
            other => Err(other.unexpected("score", number)),
        };
        let mut state = self.program.lock();
        self.program.ask(&mut state, request, 1, read).map_err(|error| MetricError(error.to_string()))
    }

    fn in_history(&self) -> bool {
        self.history
    }

    fn ready(&self) -> Result<(), MetricError> {
        self.program.ready().map_err(|error| MetricError(error.to_string()))
    }
}

/// Rows of each step that has any.
fn lengths(compared: &Compared<'_>) -> Vec<usize> {
    let rows = compared.target.len() / compared.channels.max(1);
    match compared.places {
        Some(places) => places.by_step().map(<[usize]>::len).collect(),
        None => vec![compared.batch; rows / compared.batch.max(1)],
    }
}

/// The samples of each step, where one lacks any.
fn present(places: Places<'_>) -> Option<Vec<Vec<usize>>> {
    let samples = |rows: &[usize]| rows.iter().map(|row| row % places.samples).collect();
    let whole = places.by_step().all(|rows| rows.len() == places.samples);
    (!whole).then(|| places.by_step().map(samples).collect())
}
