//! How parameters begin: constants and distributions.

use crate::random::Draws;

/// Draws the initial values of a parameter.
pub trait Initialiser: Send + Sync {
    /// `n` values; `fan_in` is the number of inputs that a weight sums over, 1 for other parameters.
    fn values(&self, draws: &mut dyn Draws, n: usize, fan_in: usize) -> Vec<f32>;

    /// Whether it takes from the random numbers.
    fn draws(&self) -> bool {
        true
    }
}

/// One value everywhere.
pub struct Constant(pub f64);

impl Initialiser for Constant {
    fn values(&self, _: &mut dyn Draws, n: usize, _: usize) -> Vec<f32> {
        vec![self.0 as f32; n]
    }

    fn draws(&self) -> bool {
        false
    }
}

/// Uniform from the first to the second number.
pub struct Uniform(pub f64, pub f64);

impl Initialiser for Uniform {
    fn values(&self, draws: &mut dyn Draws, n: usize, _: usize) -> Vec<f32> {
        draws.uniform(self.0, self.1, n)
    }
}

/// Normal with a mean and a standard deviation.
pub struct Normal(pub f64, pub f64);

impl Initialiser for Normal {
    fn values(&self, draws: &mut dyn Draws, n: usize, _: usize) -> Vec<f32> {
        draws.normal(self.0, self.1, n)
    }
}

/// As `torch.nn.Linear` begins: weight and bias uniform within 1 / sqrt(fan in).
///
/// The weight's bound goes the way of `kaiming_uniform_` with a slope of sqrt(5), whose rounding differs from the
/// bias's. Source: He et al. 2015, arXiv 1502.01852; PyTorch, `nn.Linear.reset_parameters`.
pub struct TorchLinear {
    /// Whether this is the bias.
    pub bias: bool,
}

impl Initialiser for TorchLinear {
    fn values(&self, draws: &mut dyn Draws, n: usize, fan_in: usize) -> Vec<f32> {
        let root = (fan_in.max(1) as f64).sqrt();
        let gain = (2.0 / 6.0_f64).sqrt();
        let bound = if self.bias { 1.0 / root } else { 3.0_f64.sqrt() * (gain / root) };
        draws.uniform(-bound, bound, n)
    }
}
