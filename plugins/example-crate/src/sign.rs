//! signSGD: every parameter takes a step of one size against the sign of its gradient.

use runner::train::optimizer::{Rule, Step, UpdateRule};

runner::keys! {
    /// What the rule is told.
    pub struct Keys {
        /// size of a step
        lr: f64 = number(Range::POSITIVE).or(1e-3),
    }
}

/// The rule of its keys.
pub fn rule(keys: Keys) -> Rule {
    Rule::own(keys.lr, Sign)
}

struct Sign;

impl UpdateRule for Sign {
    /// `p = p - lr sign(g)`, with `sign(0) = 0`.
    fn update(&self, step: Step, values: &mut [f32], gradients: &[f32], _: [&mut [f32]; 3]) {
        for (value, gradient) in values.iter_mut().zip(gradients).filter(|(_, gradient)| **gradient != 0.0) {
            *value -= step.lr as f32 * gradient.signum();
        }
    }
}
