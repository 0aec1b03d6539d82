//! Our own generator: ChaCha8, keyed by a seed and a purpose, so that no draw depends on another purpose's.

use super::{Draws, scaled};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers for one seed and purpose.
pub struct Stream {
    generator: ChaCha8Rng,
}

impl Stream {
    /// The stream of a seed and a purpose such as `init/hidden_1.weight`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("runner: random streams");
        hasher.update(&seed.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Stream { generator: ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()) }
    }

    /// A number of 53 random bits in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.generator.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A whole number below `n`, every one as likely as the others.
    pub fn below(&mut self, n: u64) -> u64 {
        let fair = u64::MAX - u64::MAX % n;
        loop {
            let drawn = self.generator.next_u64();
            if drawn < fair {
                return drawn % n;
            }
        }
    }
}

impl Draws for Stream {
    fn uniform(&mut self, low: f64, high: f64, n: usize) -> Vec<f32> {
        (0..n).map(|_| scaled(self.generator.next_u32() >> 8, low, high)).collect()
    }

    /// Box & Muller 1958, Annals of Mathematical Statistics 29(2), 610-611.
    fn normal(&mut self, mean: f64, sd: f64, n: usize) -> Vec<f32> {
        let pair = |stream: &mut Self| {
            let (radius, angle) =
                ((-2.0 * libm::log(1.0 - stream.unit())).sqrt(), std::f64::consts::TAU * stream.unit());
            [radius * libm::cos(angle), radius * libm::sin(angle)]
        };
        let pairs = (0..n.div_ceil(2)).flat_map(|_| pair(self));
        pairs.take(n).map(|z| (mean + sd * z) as f32).collect()
    }

    /// Fisher and Yates' shuffle.
    fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_of_a_stream_never_change() {
        let values = Stream::new(0, "data").uniform(0.0, 1.0, 3);
        let bits: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [1_050_954_884, 1_057_847_001, 1_059_007_975]);
    }

    #[test]
    fn seeds_and_purposes_have_streams_of_their_own() {
        let first = |seed, purpose| Stream::new(seed, purpose).uniform(0.0, 1.0, 4);
        assert_ne!(first(0, "a"), first(1, "a"));
        assert_ne!(first(0, "a"), first(0, "b"));
        assert_eq!(first(7, "a"), first(7, "a"));
    }

    #[test]
    fn distributions_have_their_moments() {
        let n = 40_000;
        let moments = |values: Vec<f32>| {
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
            let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n as f64;
            (mean, variance)
        };
        let (mean, variance) = moments(Stream::new(1, "u").uniform(-1.0, 3.0, n));
        assert!((mean - 1.0).abs() < 0.03 && (variance - 16.0 / 12.0).abs() < 0.03);
        let (mean, variance) = moments(Stream::new(1, "n").normal(2.0, 0.5, n));
        assert!((mean - 2.0).abs() < 0.02 && (variance - 0.25).abs() < 0.01);
    }

    #[test]
    fn every_permutation_of_three_comes_up_as_often() {
        let mut counts = std::collections::HashMap::new();
        let mut stream = Stream::new(3, "p");
        for _ in 0..6000 {
            *counts.entry(stream.permutation(3)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }
}
