//! The fused machine: whole passes over flat buffers on the processor, round the tape.
//!
//! Parameters, gradients and moments lie side by side; nothing large is allocated after the first iteration.

use super::{Machine, ParameterValues};
use crate::data::Data;
use crate::nn::fused::FusedNetwork;
use crate::tensor::TensorError;
use crate::train::loss::DirectLoss;
use crate::train::optimizer::{FlatMoments, Rule};

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
}

impl FusedMachine {
    /// A machine that has not computed anything.
    pub fn new(network: FusedNetwork, rule: Rule, losses: Vec<DirectTerm>) -> Self {
        let moments = FlatMoments::new(network.values().len());
        FusedMachine { network, rule, moments, losses }
    }
}

impl Machine for FusedMachine {
    fn forward(&mut self, batch: &Data, _: &dyn Fn(&str) -> bool, keep: bool) -> Result<f64, TensorError> {
        self.network.forward(batch);
        let mut total = 0.0;
        for term in &self.losses {
            let (signal, gradient) = self
                .network
                .signal_and_gradient(&term.signal)
                .ok_or_else(|| TensorError(format!("no signal `{}`", term.signal)))?;
            let gradient = if keep { Some(gradient) } else { None };
            total += term.weight * (term.loss)(signal, &batch.targets, term.weight, gradient);
        }
        Ok(f64::from(total))
    }

    fn signal(&self, path: &str) -> Option<(usize, Vec<f32>)> {
        self.network.signal(path).map(|(width, values)| (width, values.to_vec()))
    }

    fn backward(&mut self, batch: &Data) -> Result<(), TensorError> {
        self.network.backward(batch);
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
