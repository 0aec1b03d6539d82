//! Random numbers that stay the same: a stream for each seed and purpose, or PyTorch's generator.

mod stream;
mod torch;

pub use stream::Stream;
pub use torch::TorchGenerator;

/// A source of random numbers.
pub trait Draws: Send {
    /// `n` numbers from `[low, high)`.
    fn uniform(&mut self, low: f64, high: f64, n: usize) -> Vec<f32>;

    /// `n` numbers of a normal distribution.
    fn normal(&mut self, mean: f64, sd: f64, n: usize) -> Vec<f32>;

    /// The numbers below `n` in some order.
    fn permutation(&mut self, n: usize) -> Vec<usize>;
}

/// A number of 24 random bits in [0, 1), moved to `[low, high)` by a fused multiply-add.
fn scaled(bits: u32, low: f64, high: f64) -> f32 {
    let unit = bits as f32 * (1.0 / 16_777_216.0);
    unit.mul_add((high - low) as f32, low as f32)
}
