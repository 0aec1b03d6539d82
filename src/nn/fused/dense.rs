//! Dense weights in the flat buffers of a network.

use crate::tensor::product::{
    Spikes, add_column_sums, add_product, add_turned_product, add_weighted_rows, outer, transposed,
};
use std::ops::Range;

/// Dense weights in the flat buffers.
pub struct Dense {
    /// The weights, `[blocks, inputs, outputs]`.
    pub weight: Range<usize>,
    /// The biases, `[blocks, outputs]`.
    pub bias: Option<Range<usize>>,
    /// Inputs of a row.
    pub inputs: usize,
    /// Outputs of a block.
    pub outputs: usize,
}

impl Dense {
    fn weight(&self, block: usize) -> Range<usize> {
        let size = self.inputs * self.outputs;
        self.weight.start + block * size..self.weight.start + (block + 1) * size
    }

    fn bias(&self, block: usize) -> Option<Range<usize>> {
        let start = self.bias.as_ref()?.start + block * self.outputs;
        Some(start..start + self.outputs)
    }

    /// `out = x W^T + b` for a block; `x` is `[rows, inputs]`.
    pub fn forward(&self, block: usize, values: &[f32], x: &[f32], spikes: Option<&Spikes>, out: &mut [f32]) {
        let (weight, bias) = (&values[self.weight(block)], self.bias(block).map(|range| &values[range]));
        if self.inputs == 1 {
            return outer(x, weight, bias, out);
        }
        if let Some(spikes) = spikes {
            return spikes.times(weight, bias, out);
        }
        match bias {
            Some(bias) => out.chunks_exact_mut(self.outputs).for_each(|row| row.copy_from_slice(bias)),
            None => out.fill(0.0),
        }
        add_product(x, weight, self.inputs, self.outputs, out);
    }

    /// Turns the weights for [`Dense::backward`].
    pub fn turn(&self, blocks: usize, values: &[f32], turned: &mut [f32]) {
        if self.outputs > 1 {
            for block in 0..blocks {
                let range = self.weight(block);
                transposed(&values[range.clone()], self.inputs, self.outputs, &mut turned[range]);
            }
        }
    }

    /// Adds to the gradients of weights and bias of a block.
    pub fn add_gradients(&self, block: usize, x: &[f32], spikes: Option<&Spikes>, g: &[f32], gradients: &mut [f32]) {
        if let Some(bias) = self.bias(block) {
            add_column_sums(g, &mut gradients[bias]);
        }
        let weight = &mut gradients[self.weight(block)];
        match spikes {
            _ if self.inputs == 1 => add_weighted_rows(x, g, weight),
            _ if self.outputs == 1 => add_weighted_rows(g, x, weight),
            Some(spikes) => spikes.transposed_times(g, weight),
            None => add_turned_product(x, g, self.inputs, self.outputs, weight),
        }
    }

    /// `out += g W`: the gradient of the input of a block.
    pub fn backward(&self, block: usize, values: &[f32], turned: &[f32], g: &[f32], out: &mut [f32]) {
        let range = self.weight(block);
        match self.outputs {
            1 => add_product(g, &values[range], 1, self.inputs, out),
            outputs => add_product(g, &turned[range], outputs, self.inputs, out),
        }
    }
}
