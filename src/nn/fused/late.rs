//! A source that comes later.

use super::cuts::Cuts;
use super::dense::{Input, SpikeBits};
use crate::data::DataView;
use crate::tensor::Aligned;

/// A source that comes later by some steps. Its row of step `t` is that of step `t - delay`, of which the first lie in the
/// segments before this one, or before the beginning, where they are zero.
pub struct Late {
    /// As it arrives, `[time, batch * width]`.
    values: Aligned,
    /// The gradient of that.
    pub gradient: Aligned,
    /// The last rows before this segment, `[delay, batch * width]`; the gradients of these go back to the segment before.
    pub tail_gradient: Aligned,
    /// The last rows with those of this segment.
    pub next_tail: Aligned,
    /// Numbers of a row.
    row: usize,
    /// Channels of the source.
    width: usize,
    /// Steps by which it comes later.
    delay: usize,
    /// As bits, where the source comes as bits.
    bits: Option<SpikeBits>,
}

impl Late {
    /// Room for a source of so many channels.
    pub fn new(width: usize, delay: usize, batch: DataView<'_>) -> Late {
        let row = batch.samples * width;
        let (all, tail) = (batch.steps * row, delay * row);
        Late {
            values: Aligned::zeros(all),
            gradient: Aligned::zeros(all),
            tail_gradient: Aligned::zeros(tail),
            next_tail: Aligned::zeros(tail),
            row,
            width,
            delay,
            bits: None,
        }
    }

    /// What arrives.
    pub fn input(&self) -> Input<'_> {
        Input { values: &self.values, spikes: self.bits.as_ref().and_then(SpikeBits::sparse) }
    }

    /// Reads a segment behind the rows that came before it. What is sparse by itself is so when it comes later.
    pub fn read(&mut self, input: Input<'_>, tail: Option<&[f32]>) {
        let (all, delay) = (self.values.len(), self.delay * self.row);
        let early = delay.min(all);
        match tail {
            Some(tail) => self.values[..early].copy_from_slice(&tail[..early]),
            None => self.values[..early].fill(0.0),
        }
        self.values[early..].copy_from_slice(&input.values[..all - early]);
        // Of the rows before and those of this segment the last.
        let kept = delay - all.min(delay);
        match tail {
            Some(tail) => self.next_tail[..kept].copy_from_slice(&tail[delay - kept..]),
            None => self.next_tail[..kept].fill(0.0),
        }
        self.next_tail[kept..].copy_from_slice(&input.values[all - (delay - kept)..]);
        self.bits = input.spikes.map(|_| {
            let mut bits = self.bits.take().unwrap_or_default();
            bits.read(&self.values, self.width);
            bits
        });
    }

    /// Adds the gradient of what arrived to that of the signal, a row `delay` steps before; `later` is that of the rows
    /// which the segment after this one read.
    pub fn backward(&mut self, cuts: Cuts, later: Option<&[f32]>, to: &mut [f32]) {
        let (row, delay) = (self.row, self.delay);
        let steps = self.values.len() / row.max(1);
        self.tail_gradient.fill(0.0);
        let mut add = |step: usize, gradient: &[f32]| {
            // Rows before this segment first, then its own.
            let place = match step.checked_sub(delay) {
                Some(own) => &mut to[own * row..(own + 1) * row],
                None => &mut self.tail_gradient[step * row..(step + 1) * row],
            };
            place.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        };
        for step in (0..steps).filter(|step| !cuts.crosses(*step, delay)) {
            add(step, &self.gradient[step * row..(step + 1) * row]);
        }
        for (step, gradient) in later.into_iter().flat_map(|later| later.chunks_exact(row)).enumerate() {
            add(steps + step, gradient);
        }
    }
}
