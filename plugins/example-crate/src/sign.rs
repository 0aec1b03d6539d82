//! signSGD: every parameter takes a step of one size against the sign of its gradient.

use runner::spec::fields::{Field, Range};
use runner::spec::tree::Table;
use runner::train::optimizer::{Rule, Step, UpdateRule};

/// The keys of `kind = "sign"`.
pub fn fields() -> Vec<Field> {
    vec![Field::number("lr", Range::POSITIVE, 1e-3, "size of a step")]
}

/// The rule for checked keys.
pub fn rule(args: &Table) -> Rule {
    Rule::own(Sign { lr: args.number("lr") })
}

struct Sign {
    lr: f64,
}

impl UpdateRule for Sign {
    /// `p = p - lr sign(g)`, with `sign(0) = 0`.
    fn update(&self, step: Step, values: &mut [f32], gradients: &[f32], _: [&mut [f32]; 3]) {
        let lr = step.lr(self.lr) as f32;
        for (value, gradient) in values.iter_mut().zip(gradients).filter(|(_, gradient)| **gradient != 0.0) {
            *value -= lr * gradient.signum();
        }
    }
}
