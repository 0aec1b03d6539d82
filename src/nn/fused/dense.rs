//! Dense weights in the flat buffers of a network.

use crate::tensor::product::{
    Spikes, add_column_sums, add_product, add_turned_product, add_weighted_rows, outer, transposed,
};
use std::ops::Range;

/// What a source brings: `[time * batch, width]`, and the same as bits where sums of rows pay.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The values.
    pub values: &'a [f32],
    /// The same as bits.
    pub spikes: Option<&'a Spikes>,
}

/// Spikes denser than this are multiplied as a dense matrix. Decided by counts, so that it is the same everywhere.
const DENSE_FROM: f64 = 0.4;

/// A signal of spikes as bits.
#[derive(Default)]
pub struct SpikeBits {
    spikes: Spikes,
    /// Whether they are few enough for sums of rows.
    sparse: bool,
}

impl SpikeBits {
    /// Reads rows `[rows, width]` of zeros and ones.
    pub fn read(&mut self, values: &[f32], width: usize) {
        self.spikes.read(values, width);
        self.sparse = self.spikes.density() < DENSE_FROM;
    }

    /// The bits, where sums of rows pay.
    pub fn sparse(&self) -> Option<&Spikes> {
        self.sparse.then_some(&self.spikes)
    }
}

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

    /// `out += x W^T` for a block, whose bias was added before; `room` is as large as `out`.
    pub fn add_forward(&self, block: usize, values: &[f32], x: Input<'_>, room: &mut [f32], out: &mut [f32]) {
        self.forward(block, values, x, room);
        out.iter_mut().zip(room).for_each(|(out, more)| *out += *more);
    }

    /// `out = x W^T + b` for a block; `x` is `[rows, inputs]`.
    pub fn forward(&self, block: usize, values: &[f32], x: Input<'_>, out: &mut [f32]) {
        let (weight, bias) = (&values[self.weight(block)], self.bias(block).map(|range| &values[range]));
        if self.inputs == 1 {
            return outer(x.values, weight, bias, out);
        }
        if let Some(spikes) = x.spikes {
            return spikes.times(weight, bias, out);
        }
        match bias {
            Some(bias) => out.chunks_exact_mut(self.outputs).for_each(|row| row.copy_from_slice(bias)),
            None => out.fill(0.0),
        }
        add_product(x.values, weight, self.inputs, self.outputs, out);
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
