//! What one neuron does with simple currents: an impulse, a step, and steps of many heights.
//!
//! In: the recipe of a layer. Out: signals over time, and firing rates. Parameters that are drawn are
//! those of seed 0. Nothing is trained.

use super::fused::{FusedNetwork, Workspace};
use super::layer::{AnyLayer, Inputs, LayerPlan};
use super::network::NetworkPlan;
use crate::data::DataView;
use crate::random::Stream;

/// A neuron on its own.
pub struct Probe {
    network: FusedNetwork,
    /// Inputs of the neuron; each gets the whole current.
    inputs: usize,
    signals: Vec<String>,
}

/// The signals of a neuron by name, a value a step.
pub type Response = Vec<(String, Vec<f32>)>;

/// The name of the signal whose mean is the firing rate.
const SPIKES: &str = "spikes";

impl Probe {
    /// One neuron of a layer; none where that has no fused form.
    pub fn new(layer: &dyn AnyLayer) -> Option<Probe> {
        let inputs = layer.plan(&Inputs::one(1)).blocks;
        let plan = LayerPlan { name: "probe".into(), ..layer.plan(&Inputs::one(inputs)) };
        let plan = NetworkPlan::chain(vec![plan]);
        let form = layer.fused()?;
        let values = plan.parameters().map(|(path, parameter)| {
            let mut stream = Stream::new(0, &format!("init/{path}"));
            let values = parameter.init.values(&mut stream, parameter.len(), parameter.fan_in);
            (path, values)
        });
        let values = values.collect();
        let signals = plan.layers[0].signals.clone();
        Some(Probe { network: FusedNetwork::new(&plan, vec![form], &[], None).with_values(&values), inputs, signals })
    }

    /// Whether it spikes.
    pub fn spikes(&self) -> bool {
        self.signals.iter().any(|signal| signal == SPIKES)
    }

    /// Its signals for a current of so many steps.
    pub fn respond(&self, current: &[f32]) -> Response {
        let space = self.run(current, current.len(), 1);
        let signal = |name: &String| Some((name.clone(), self.signal(name, &space)?.to_vec()));
        self.signals.iter().filter_map(signal).collect()
    }

    /// Spikes a step for constant currents, over the second half of so many steps.
    pub fn rates(&self, currents: &[f32], steps: usize) -> Vec<f32> {
        let constant: Vec<f32> = (0..steps).flat_map(|_| currents.iter().copied()).collect();
        let space = self.run(&constant, steps, currents.len());
        let spikes = self.signal(SPIKES, &space).unwrap_or(&[]);
        let late = &spikes[spikes.len() / 2 / currents.len() * currents.len()..];
        let rate = |i: usize| {
            let own = late.iter().skip(i).step_by(currents.len());
            own.clone().sum::<f32>() / own.len().max(1) as f32
        };
        (0..currents.len()).map(rate).collect()
    }

    fn run(&self, currents: &[f32], steps: usize, samples: usize) -> Workspace {
        let inputs: Vec<f32> = currents.iter().flat_map(|current| std::iter::repeat_n(*current, self.inputs)).collect();
        let mut space = Workspace::default();
        self.network.forward(DataView { steps, samples, inputs: &inputs, ..DataView::default() }, 0, None, &mut space);
        space
    }

    fn signal<'a>(&self, name: &str, space: &'a Workspace) -> Option<&'a [f32]> {
        let path = self.network.signals().find(|path| path.rsplit('.').next() == Some(name))?;
        self.network.signal(&path, space).map(|(_, values)| values)
    }
}
