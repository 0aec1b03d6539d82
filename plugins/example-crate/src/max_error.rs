//! The largest absolute error over steps, samples and channels.

use runner::train::metric::Compared;

/// The largest absolute error, in the unit of the target.
pub fn max_error(compared: Compared<'_>) -> f64 {
    let errors = compared.output.iter().zip(compared.target).map(|(o, t)| (o - t).abs());
    errors.fold(0.0, f64::max)
}
