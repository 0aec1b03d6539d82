//! A sine wave of a random phase a sample; the target is the wave some steps ahead.

use runner::data::{Data, DataError, DataShape, Dataset};
use runner::random::Draws;
use runner::spec::Component;
use runner::spec::diagnostic::Diagnostics;
use runner::spec::fields::{Field, Range, Type};
use runner::spec::source::Sources;
use runner::spec::tree::Value;
use std::f64::consts::TAU;

/// The keys of `kind = "sine"`.
pub fn fields() -> Vec<Field> {
    vec![
        Field::required("steps", Type::at_least(1), "time steps of a sample"),
        Field::default("samples", Type::at_least(1), Value::Int(1), "samples"),
        Field::number("period", Range::POSITIVE, 20.0, "steps of a whole wave"),
        Field::default("ahead", Type::at_least(0), Value::Int(1), "steps that the target is ahead"),
    ]
}

/// The dataset for checked keys. Nothing outside of the program is read, so nothing can fail.
pub fn build(data: &Component, _: &Sources) -> Result<Box<dyn Dataset>, Diagnostics> {
    let args = &data.args;
    Ok(Box::new(Sine {
        steps: args.whole("steps"),
        samples: args.whole("samples"),
        period: args.number("period"),
        ahead: args.whole("ahead"),
    }))
}

struct Sine {
    steps: usize,
    samples: usize,
    period: f64,
    ahead: usize,
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
