//! The fused machine: whole passes over flat buffers on the processor, round the tape.
//!
//! Parameters, gradients and moments lie side by side; nothing large is allocated after the first iteration.

use super::{Machine, ParameterValues};
use crate::data::Data;
use crate::nn::fused::FusedNetwork;
use crate::tensor::TensorError;
use crate::train::loss::DirectLoss;
use crate::train::optimizer::{FlatMoments, Rule};
use std::collections::HashMap;

/// A loss in the sum, computed with its gradient in one pass.
pub struct DirectTerm {
    /// The loss.
    pub loss: DirectLoss,
    /// Its factor.
    pub weight: f32,
    /// The signal it reads.
    pub signal: String,
}

/// A fused network, its losses and optimizer.
pub struct FusedMachine {
    network: FusedNetwork,
    rule: Rule,
    moments: FlatMoments,
    losses: Vec<DirectTerm>,
    /// The network's output.
    output: String,
    /// Signals of the last forward pass, `[time, samples, width]`, where it was made in chunks.
    gathered: HashMap<String, (usize, Vec<f32>)>,
}

impl FusedMachine {
    /// A machine that has not computed anything.
    pub fn new(network: FusedNetwork, rule: Rule, losses: Vec<DirectTerm>, output: String) -> Self {
        let moments = FlatMoments::new(network.values().len());
        FusedMachine { network, rule, moments, losses, output, gathered: HashMap::new() }
    }

    /// The loss of some samples, as their share of all, and its gradients.
    fn pass(&mut self, part: &Data, share: f32, keep: bool) -> Result<f32, TensorError> {
        self.network.forward(part);
        let mut total = 0.0;
        for term in &self.losses {
            let (signal, gradient) = self
                .network
                .signal_and_gradient(&term.signal)
                .ok_or_else(|| TensorError(format!("no signal `{}`", term.signal)))?;
            let weight = term.weight * share;
            total += weight * (term.loss)(signal, &part.targets, weight, keep.then_some(gradient));
        }
        if keep {
            self.network.backward(part);
        }
        Ok(total)
    }

    /// Puts the signals of a chunk to their places among those of all samples.
    fn gather(&mut self, wanted: &dyn Fn(&str) -> bool, batch: &Data, first: usize, part: &Data) {
        for path in self.network.signals().filter(|path| wanted(path) || *path == self.output) {
            let Some((width, values)) = self.network.signal(&path) else { continue };
            let all = batch.steps * batch.samples * width;
            let (_, gathered) = self.gathered.entry(path).or_insert_with(|| (width, vec![0.0; all]));
            gathered.resize(all, 0.0);
            let rows = gathered.chunks_exact_mut(batch.samples * width);
            for (row, values) in rows.zip(values.chunks_exact(part.samples * width)) {
                row[first * width..(first + part.samples) * width].copy_from_slice(values);
            }
        }
    }
}

impl Machine for FusedMachine {
    /// Large batches go through in chunks, forward and backward, so that they stay in cache; their gradients are
    /// summed in order.
    fn forward(&mut self, batch: &Data, wanted: &dyn Fn(&str) -> bool, keep: bool) -> Result<f64, TensorError> {
        if keep {
            self.network.begin_gradients();
        }
        let chunk = self.network.chunk(batch);
        if chunk >= batch.samples {
            self.gathered.clear();
            return self.pass(batch, 1.0, keep).map(f64::from);
        }
        let mut total = 0.0;
        for first in (0..batch.samples).step_by(chunk) {
            let indices: Vec<usize> = (first..batch.samples.min(first + chunk)).collect();
            let part = batch.batch(&indices);
            total += f64::from(self.pass(&part, part.samples as f32 / batch.samples as f32, keep)?);
            self.gather(wanted, batch, first, &part);
        }
        Ok(total)
    }

    fn signal(&self, path: &str) -> Option<(usize, Vec<f32>)> {
        match self.gathered.get(path) {
            Some(signal) => Some(signal.clone()),
            None => self.network.signal(path).map(|(width, values)| (width, values.to_vec())),
        }
    }

    /// Done with the forward pass.
    fn backward(&mut self, _: &Data) -> Result<(), TensorError> {
        Ok(())
    }

    fn gradient_norm(&mut self) -> Result<f64, TensorError> {
        let learned = self.network.parts().iter().filter(|part| part.plan.learn);
        let squares = learned.flat_map(|part| &self.network.gradients()[part.range()]).map(|g| f64::from(*g).powi(2));
        Ok(squares.sum::<f64>().sqrt())
    }

    fn update(&mut self, number: usize, scale: f32) -> Result<(), TensorError> {
        let (parts, values, gradients) = self.network.update();
        for part in parts.iter().filter(|part| part.plan.learn) {
            let range = part.range();
            let rule = self.rule.for_parameter(part.plan.lr, part.plan.decays);
            if scale != 1.0 {
                gradients[range.clone()].iter_mut().for_each(|gradient| *gradient *= scale);
            }
            rule.update_flat(
                number,
                &mut values[range.clone()],
                &gradients[range.clone()],
                &mut self.moments,
                range.clone(),
            );
            if let Some((low, high)) = part.plan.project {
                values[range].iter_mut().for_each(|value| *value = value.clamp(low as f32, high as f32));
            }
        }
        Ok(())
    }

    fn parameters(&self) -> Vec<ParameterValues> {
        let parts = self.network.parts().iter();
        parts.map(|part| (part.path.clone(), part.plan.shape.clone(), part.to_pytorch(self.network.values()))).collect()
    }

    fn set_parameters(&mut self, values: &[Vec<f32>]) -> Result<(), TensorError> {
        self.network.set_values(values);
        Ok(())
    }

    fn gradients(&mut self) -> Result<Vec<Vec<f32>>, TensorError> {
        Ok(self.network.parts().iter().map(|part| part.to_pytorch(self.network.gradients())).collect())
    }
}
