//! A sine wave of a random phase a sample; the target is the wave some steps ahead.

use runner::data::{Data, DataError, DataShape, Dataset};
use runner::random::Draws;
use std::f64::consts::TAU;

runner::keys! {
    /// The dataset, as its keys describe it.
    pub struct Sine {
        /// time steps of a sample
        steps: usize = at_least(1),
        /// samples
        samples: usize = at_least(1).or(1),
        /// steps of a whole wave
        period: f64 = number(Range::POSITIVE).or(20.0),
        /// steps that the target is ahead
        ahead: usize = at_least(0).or(1),
    }
}

impl Dataset for Sine {
    fn shape(&self) -> DataShape {
        let channel = |name: &str| vec![name.to_string()];
        DataShape { steps: self.steps, samples: self.samples, inputs: channel("wave"), targets: channel("ahead") }
    }

    fn draw(&self, draws: &mut dyn Draws) -> Result<Data, DataError> {
        let phases = draws.uniform(0.0, TAU, self.samples);
        let wave = |first: usize| -> Vec<f32> {
            let at = |t: usize, phase: &f32| (TAU * (t as f64) / self.period + f64::from(*phase)).sin() as f32;
            (first..first + self.steps).flat_map(|t| phases.iter().map(move |phase| at(t, phase))).collect()
        };
        Ok(Data::new(self.steps, self.samples, wave(0), wave(self.ahead)))
    }
}
