//! How a number that is constant in time enters a spiking network.
//!
//! Rate and latency codes: Eshraghian et al. 2023, Proceedings of the IEEE 111(9), 1016-1054, section II.

use crate::random::Draws;
use crate::spec::key::Choice;

/// A code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encode {
    /// The same current at every step.
    Current,
    /// At every step a spike with the value as its probability.
    Rate,
    /// One spike, the earlier the larger the value: at the first step for 1, at the last for 0.
    Latency,
}

impl Choice for Encode {
    const WORDS: &'static [(&'static str, Encode)] =
        &[("current", Encode::Current), ("rate", Encode::Rate), ("latency", Encode::Latency)];
}

impl Encode {
    /// Values `[row, input]` as sequences `[time, row, input]`.
    pub fn sequences(self, values: &[f32], steps: usize, draws: &mut dyn Draws) -> Vec<f32> {
        match self {
            Encode::Current => values.repeat(steps),
            Encode::Rate => {
                let uniform = draws.uniform(0.0, 1.0, steps * values.len());
                uniform.iter().zip(values.iter().cycle()).map(|(u, value)| f32::from(u < value)).collect()
            }
            Encode::Latency => {
                let last = (steps - 1) as f32;
                let fires = |value: &f32| ((1.0 - value.clamp(0.0, 1.0)) * last).round() as usize;
                (0..steps).flat_map(|step| values.iter().map(move |value| f32::from(fires(value) == step))).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn a_rate_is_the_share_of_steps_with_a_spike() {
        let spikes = Encode::Rate.sequences(&[0.0, 0.3, 1.0], 5000, &mut Stream::new(0, "data"));
        let rate = |i: usize| spikes.iter().skip(i).step_by(3).sum::<f32>() / 5000.0;
        assert_eq!((rate(0), rate(2)), (0.0, 1.0));
        assert!((rate(1) - 0.3).abs() < 0.02, "{}", rate(1));
    }

    #[test]
    fn a_latency_is_one_spike_and_the_largest_value_fires_first() {
        let spikes = Encode::Latency.sequences(&[1.0, 0.5, 0.0], 5, &mut Stream::new(0, "data"));
        let fired = |i: usize| (0..5).filter(|t| spikes[t * 3 + i] == 1.0).collect::<Vec<_>>();
        assert_eq!([fired(0), fired(1), fired(2)], [[0], [2], [4]]);
    }
}
