//! A metric that a program computes.

use super::Program;
use super::protocol::{Answer, Cube, Request};
use crate::spec::tree::Table;
use crate::train::Metric;
use crate::train::metric::{Compared, MetricError};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A program's metric with its keys read.
pub struct ProgramMetric {
    program: Arc<Program>,
    keys: Map<String, Value>,
    history: bool,
}

impl ProgramMetric {
    /// The metric for checked keys.
    pub fn new(program: Arc<Program>, args: &Table) -> ProgramMetric {
        let keys = program.manifest.values(args);
        ProgramMetric { program, keys, history: args.flag("history") }
    }
}

impl Metric for ProgramMetric {
    fn score(&self, compared: Compared<'_>) -> Result<f64, MetricError> {
        // Where nothing comes after the first step, or steps have unlike numbers of samples, all rows are one step.
        let (row, rows) = (compared.channels.max(1), compared.target.len() / compared.channels.max(1));
        let regular = compared.batch > 0 && rows.is_multiple_of(compared.batch);
        let step = row * if regular { compared.batch } else { rows.max(1) };
        let cube = |values: &[f64]| -> Cube<f64> {
            let steps = values.chunks(step);
            steps.map(|step| step.chunks(row).map(<[f64]>::to_vec).collect()).collect()
        };
        let request = |id| Request::Score {
            id,
            keys: self.keys.clone(),
            output: cube(compared.output),
            target: cube(compared.target),
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
