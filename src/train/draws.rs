//! The random numbers of a trial: data, initial parameters, and the order of samples.
//!
//! With our own generator each has a stream of its own, so that adding a layer or changing the number of jobs
//! changes no other draw. With PyTorch's there is one generator, from which named things are drawn in turn.

use crate::data::DataError;
use crate::data::prepared::{Parts, Prepared};
use crate::nn::NetworkPlan;
use crate::random::{Draws, Stream, TorchGenerator};
use std::collections::HashMap;

/// Where the random numbers of a trial come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Generator {
    /// A stream for each seed and purpose.
    Runner,
    /// PyTorch's generator, and the order in which things are drawn: `data` and paths of parameters.
    Torch(Vec<String>),
}

/// The seeds of a trial: its own, and those that the file fixes for all trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    /// The trial's.
    pub trial: u64,
    /// The data's, if fixed.
    pub data: Option<u64>,
    /// The initial parameters', if fixed.
    pub init: Option<u64>,
}

impl Seeds {
    fn of_data(self) -> u64 {
        self.data.unwrap_or(self.trial)
    }
}

/// What a trial begins with.
pub struct Drawn {
    /// The data.
    pub data: Parts,
    /// Initial values of each parameter by path.
    pub parameters: HashMap<String, Vec<f32>>,
    /// Goes on with the order of samples.
    pub order: OrderSource,
}

/// Where the order of samples comes from.
pub enum OrderSource {
    /// A stream an epoch.
    Runner(u64),
    /// What is left of PyTorch's generator.
    Torch(Box<TorchGenerator>),
}

impl OrderSource {
    /// The order of `n` samples in an epoch.
    pub fn permutation(&mut self, epoch: usize, n: usize) -> Vec<usize> {
        match self {
            OrderSource::Runner(seed) => Stream::new(*seed, &format!("order/{epoch}")).permutation(n),
            OrderSource::Torch(generator) => generator.permutation(n),
        }
    }
}

/// The order in which PyTorch's generator is used where the file does not say: data, then layer by layer.
pub fn default_order(plan: &NetworkPlan) -> Vec<String> {
    let drawn = plan.parameters().filter(|(_, parameter)| parameter.init.draws()).map(|(path, _)| path);
    std::iter::once("data".to_string()).chain(drawn).collect()
}

/// Draws all that a trial begins with.
pub fn draw(generator: &Generator, seeds: Seeds, dataset: &Prepared, plan: &NetworkPlan) -> Result<Drawn, DataError> {
    match generator {
        Generator::Runner => draw_streams(seeds, dataset, plan),
        Generator::Torch(order) => draw_in_order(order, seeds, dataset, plan),
    }
}

fn draw_streams(seeds: Seeds, dataset: &Prepared, plan: &NetworkPlan) -> Result<Drawn, DataError> {
    let data = dataset.draw(&mut Stream::new(seeds.of_data(), "data"), seeds.of_data())?;
    let seed = seeds.init.unwrap_or(seeds.trial);
    let values = plan.parameters().map(|(path, parameter)| {
        let mut stream = Stream::new(seed, &format!("init/{path}"));
        let values = parameter.init.values(&mut stream, parameter.len(), parameter.fan_in);
        (path, values)
    });
    Ok(Drawn { data, parameters: values.collect(), order: OrderSource::Runner(seeds.trial) })
}

fn draw_in_order(order: &[String], seeds: Seeds, dataset: &Prepared, plan: &NetworkPlan) -> Result<Drawn, DataError> {
    // Seeds were checked to fit: PyTorch takes 32 bits of them here.
    let begin = |seed: u64| TorchGenerator::new(seed as u32);
    let mut shared = begin(seeds.trial);
    let (mut own_data, mut own_init) = (seeds.data.map(begin), seeds.init.map(begin));
    let known: HashMap<String, _> = plan.parameters().collect();
    let mut data = None;
    let mut parameters = HashMap::new();
    let undrawn: Vec<String> = known.keys().filter(|path| !order.contains(path)).cloned().collect();
    for name in order.iter().chain(&undrawn) {
        if name == "data" {
            data = Some(dataset.draw(own_data.as_mut().unwrap_or(&mut shared), seeds.of_data())?);
        } else if let Some(parameter) = known.get(name) {
            let source = own_init.as_mut().unwrap_or(&mut shared);
            parameters.insert(name.clone(), parameter.init.values(source, parameter.len(), parameter.fan_in));
        }
    }
    let data = match data {
        Some(data) => data,
        None => dataset.draw(own_data.as_mut().unwrap_or(&mut shared), seeds.of_data())?,
    };
    Ok(Drawn { data, parameters, order: OrderSource::Torch(Box::new(shared)) })
}
