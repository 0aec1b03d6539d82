//! A dataset that a program produces: asked for once for its digest, keys and seed, then read from the cache, where there
//! is one.

use super::protocol::{Answer, Cube, Request};
use super::{Failure, Program, ProgramManifest};
use crate::data::function::SampleKeys;
use crate::data::{Data, DataError, DataShape, Dataset};
use crate::random::Draws;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A program's dataset with its keys read.
pub struct ProgramDataset {
    program: Arc<Program>,
    steps: usize,
    samples: usize,
    keys: Map<String, Value>,
}

impl ProgramDataset {
    /// The dataset for its size and the values of the program's own keys.
    pub fn new(program: Arc<Program>, size: SampleKeys, keys: Map<String, Value>) -> ProgramDataset {
        ProgramDataset { program, steps: size.steps, samples: size.samples, keys }
    }

    /// The values of `[time][sample][channel]` in one list, if they are as many as there should be.
    fn flat(&self, cube: &Cube<f64>, channels: &[String], what: &str) -> Result<Vec<f32>, Failure> {
        let wrong = |why: String| Failure::Wrong { asked: "produce", why };
        let shape = |steps: usize, samples: usize, channels: usize| format!("[{steps}, {samples}, {channels}]");
        let expected = (self.steps, self.samples, channels.len());
        let samples = cube.iter().map(Vec::len).find(|n| *n != expected.1).unwrap_or(expected.1);
        let widths = cube.iter().flatten().map(Vec::len).find(|n| *n != expected.2).unwrap_or(expected.2);
        if (cube.len(), samples, widths) != expected {
            let (got, needed) = (shape(cube.len(), samples, widths), shape(expected.0, expected.1, expected.2));
            return Err(wrong(format!("`{what}` have the shape {got}, and {needed} was asked for")));
        }
        let mut values = Vec::with_capacity(expected.0 * expected.1 * expected.2);
        for (t, step) in cube.iter().enumerate() {
            for (sample, row) in step.iter().enumerate() {
                for (value, channel) in row.iter().zip(channels) {
                    if !(*value as f32).is_finite() {
                        let place = format!("step {t}, sample {sample}, channel `{channel}`");
                        return Err(wrong(format!("`{what}` at {place} is {value:e}, too large for single precision")));
                    }
                    values.push(*value as f32);
                }
            }
        }
        Ok(values)
    }
}

impl Dataset for ProgramDataset {
    fn shape(&self) -> DataShape {
        let manifest = &self.program.manifest;
        DataShape {
            steps: self.steps,
            samples: self.samples,
            inputs: manifest.inputs.clone(),
            targets: manifest.targets.clone(),
        }
    }

    fn program(&self) -> Option<String> {
        let ProgramManifest { name, file, .. } = &self.program.manifest;
        Some(format!("program `{name}` ({file})"))
    }

    fn draw(&self, draws: &mut dyn Draws) -> Result<Data, DataError> {
        let (steps, samples) = (self.steps, self.samples);
        // Two draws of 24 bits each: the same whichever generator they come from.
        let bits = draws.uniform(0.0, f64::from(1 << 24), 2);
        let seed = (bits[0] as u64) << 24 | bits[1] as u64;
        let manifest = &self.program.manifest;
        let [inputs, targets] = [&manifest.inputs, &manifest.targets].map(|names| steps * samples * names.len());
        // Whoever comes second finds what the first one put into the cache.
        let mut state = self.program.lock();
        let request = |id| Request::Produce { id, seed, steps, samples, keys: self.keys.clone() };
        let cache = self.program.allowed.get().and_then(Option::as_ref);
        let place = cache.map(|cache| cache.place(&manifest.digest, &request(0)));
        if let Some(values) = place.as_ref().and_then(|place| place.load(inputs + targets)) {
            let (inputs, targets) = values.split_at(inputs);
            return Ok(Data::new(steps, samples, inputs.to_vec(), targets.to_vec()));
        }
        let read = |number: u64, answer: Answer| match answer {
            Answer::Data { id, inputs, targets } if id == number => {
                let inputs = self.flat(&inputs, &manifest.inputs, "inputs")?;
                Ok(Data::new(steps, samples, inputs, self.flat(&targets, &manifest.targets, "targets")?))
            }
            other => Err(other.unexpected("produce", number)),
        };
        let data = (self.program.ask(&mut state, request, inputs + targets, read))
            .map_err(|error| DataError(error.to_string()))?;
        if let Some(place) = place {
            place.keep([&data.inputs, &data.targets]);
        }
        Ok(data)
    }
}
