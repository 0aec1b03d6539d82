//! PyTorch's CPU generator after `torch.manual_seed`, draw for draw.
//!
//! Sources: Matsumoto & Nishimura 1998, ACM Transactions on Modeling and Computer Simulation 8(1), 3-30 (mt19937);
//! PyTorch's documented distributions, checked against traces of PyTorch 2.

use super::{Draws, scaled};

const N: usize = 624;
const M: usize = 397;

/// mt19937 with PyTorch's distributions on top.
pub struct TorchGenerator {
    state: [u32; N],
    next: usize,
    /// The second value of the last pair of normal numbers.
    spare: Option<f64>,
}

impl TorchGenerator {
    /// The generator after `torch.manual_seed(seed)`.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        TorchGenerator { state, next: N, spare: None }
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn word(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number of 53 bits in [0, 1), of two words, the first being the high one.
    fn double(&mut self) -> f64 {
        let (high, low) = (u64::from(self.word()), u64::from(self.word()));
        let bits = ((high << 32) | low) & ((1 << 53) - 1);
        bits as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// One normal number in f64; the pair's second value is kept for the next call.
    fn normal_double(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (u1, u2) = (self.double(), self.double());
        let (radius, angle) = ((-2.0 * libm::log1p(-u2)).sqrt(), std::f64::consts::TAU * u1);
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    fn unit(&mut self) -> f32 {
        scaled(self.word() & 0x00ff_ffff, 0.0, 1.0)
    }
}

/// Turns 16 uniform numbers into normal ones: the first eight give radii, the others angles.
fn normal_block(block: &mut [f32], mean: f32, sd: f32) {
    for j in 0..8 {
        let radius = (-2.0 * libm::logf(1.0 - block[j])).sqrt();
        let angle = std::f32::consts::TAU * block[j + 8];
        block[j] = radius * libm::cosf(angle) * sd + mean;
        block[j + 8] = radius * libm::sinf(angle) * sd + mean;
    }
}

impl Draws for TorchGenerator {
    fn uniform(&mut self, low: f64, high: f64, n: usize) -> Vec<f32> {
        (0..n).map(|_| scaled(self.word() & 0x00ff_ffff, low, high)).collect()
    }

    fn normal(&mut self, mean: f64, sd: f64, n: usize) -> Vec<f32> {
        if n < 16 {
            return (0..n).map(|_| (self.normal_double() * sd + mean) as f32).collect();
        }
        let mut values: Vec<f32> = (0..n).map(|_| self.unit()).collect();
        let (mean, sd) = (mean as f32, sd as f32);
        let whole = n - n % 16;
        values[..whole].chunks_exact_mut(16).for_each(|block| normal_block(block, mean, sd));
        if !n.is_multiple_of(16) {
            let last = &mut values[n - 16..];
            last.iter_mut().for_each(|value| *value = self.unit());
            normal_block(last, mean, sd);
        }
        values
    }

    fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            let step = self.word() as usize % (n - i);
            order.swap(i, i + step);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_reference_implementation() {
        let mut generator = TorchGenerator::new(5489);
        assert_eq!([generator.word(), generator.word(), generator.word()], [3_499_211_612, 581_869_302, 3_890_346_734]);
    }
}
