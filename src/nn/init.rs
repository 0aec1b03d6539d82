//! How parameters begin: constants and distributions.

use crate::keys;
use crate::random::Draws;
use crate::spec::key::{Pair, Range};
use std::sync::Arc;

/// Draws the initial values of a parameter.
pub trait Initialiser: Send + Sync {
    /// `n` values; `fan_in` is the number of inputs that a weight sums over, 1 for other parameters.
    fn values(&self, draws: &mut dyn Draws, n: usize, fan_in: usize) -> Vec<f32>;

    /// Whether it takes from the random numbers.
    fn draws(&self) -> bool {
        true
    }
}

keys! {
    /// One value everywhere.
    pub struct Constant {
        /// this number
        pub constant: f64 = number(Range::ANY),
    }
}

impl Constant {
    /// This value everywhere.
    pub fn of(constant: f64) -> Arc<dyn Initialiser> {
        Arc::new(Constant { constant })
    }
}

impl Initialiser for Constant {
    fn values(&self, _: &mut dyn Draws, n: usize, _: usize) -> Vec<f32> {
        vec![self.constant as f32; n]
    }

    fn draws(&self) -> bool {
        false
    }
}

/// Where a uniform distribution begins and ends.
const LOW_HIGH: Pair = Pair { names: ["low", "high"], ranges: [Range::ANY; 2], ordered: true };

keys! {
    /// Uniform from the first to the second number.
    pub struct Uniform {
        /// drawn uniformly from [low, high)
        uniform: (f64, f64) = pair(LOW_HIGH),
    }
}

impl Initialiser for Uniform {
    fn values(&self, draws: &mut dyn Draws, n: usize, _: usize) -> Vec<f32> {
        draws.uniform(self.uniform.0, self.uniform.1, n)
    }
}

/// Mean and standard deviation.
const MEAN_SD: Pair = Pair { names: ["mean", "sd"], ranges: [Range::ANY, Range::NOT_NEGATIVE], ordered: false };

keys! {
    /// Normal with a mean and a standard deviation.
    pub struct Normal {
        /// drawn from a normal distribution, [mean, sd]
        normal: (f64, f64) = pair(MEAN_SD),
    }
}

impl Initialiser for Normal {
    fn values(&self, draws: &mut dyn Draws, n: usize, _: usize) -> Vec<f32> {
        draws.normal(self.normal.0, self.normal.1, n)
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
