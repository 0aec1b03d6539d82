//! Losses: what training lowers, a number from a signal and the target.

use crate::tensor::{Backend, Matrix, Recorder, Scalar, Steps, TensorError};
use dfdx::prelude::*;

/// A loss on a device.
pub trait Loss<D: Backend>: Send {
    /// The loss of a signal `[time * batch, channels]` against a target of the same shape. Errors count with `weights`
    /// of that shape, which are 1 on average, where there are any.
    fn value(
        &self,
        signal: &Steps<D>,
        target: &Matrix<D>,
        weights: Option<&Matrix<D>>,
        recorder: &mut Recorder<D>,
    ) -> Result<Scalar<D>, TensorError>;
}

/// A loss on every device that this program was built for.
#[cfg(not(feature = "cuda"))]
pub trait EveryLoss: Loss<Cpu> + 'static {}

#[cfg(not(feature = "cuda"))]
impl<L: Loss<Cpu> + 'static> EveryLoss for L {}

/// A loss on every device that this program was built for.
#[cfg(feature = "cuda")]
pub trait EveryLoss: Loss<Cpu> + Loss<Cuda> + 'static {}

#[cfg(feature = "cuda")]
impl<L: Loss<Cpu> + Loss<Cuda> + 'static> EveryLoss for L {}

/// What a loss is computed from on the processor.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// `[time * batch, channels]`.
    pub signal: &'a [f32],
    /// The same shape.
    pub target: &'a [f32],
    /// How much each row counts, 1 on average over all of a batch; empty where all count alike.
    pub weights: &'a [f32],
}

/// A loss and its gradient in one pass on the processor: gives the loss, and adds `weight` times its derivative to the
/// gradient, if one is asked for.
pub type DirectLoss = fn(pair: Pair<'_>, weight: f32, gradient: Option<&mut [f32]>) -> f32;

fn direct(pair: Pair<'_>, gradient: Option<&mut [f32]>, value: fn(f32) -> f32, slope: impl Fn(f32) -> f32) -> f32 {
    let Pair { signal, target, weights } = pair;
    let errors = || signal.iter().zip(target).map(|(s, t)| s - t);
    if weights.is_empty() {
        if let Some(gradient) = gradient {
            gradient.iter_mut().zip(errors()).for_each(|(gradient, error)| *gradient += slope(error));
        }
        return errors().map(value).sum::<f32>() / target.len() as f32;
    }
    let channels = (target.len() / weights.len()).max(1);
    let weighted = || weights.iter().flat_map(|weight| std::iter::repeat_n(*weight, channels)).zip(errors());
    if let Some(gradient) = gradient {
        gradient.iter_mut().zip(weighted()).for_each(|(gradient, (weight, error))| *gradient += weight * slope(error));
    }
    weighted().map(|(weight, error)| weight * value(error)).sum::<f32>() / target.len() as f32
}

/// [`Mse`] with its gradient.
pub fn mse(pair: Pair<'_>, weight: f32, gradient: Option<&mut [f32]>) -> f32 {
    let factor = 2.0 * weight / pair.target.len() as f32;
    direct(pair, gradient, |e| e * e, |e| factor * e)
}

/// [`L1`] with its gradient, 0 where there is no error.
pub fn l1(pair: Pair<'_>, weight: f32, gradient: Option<&mut [f32]>) -> f32 {
    let factor = weight / pair.target.len() as f32;
    direct(pair, gradient, f32::abs, |e| if e == 0.0 { 0.0 } else { factor * e.signum() })
}

/// The mean of errors, each with its weight.
fn mean<D: Backend>(
    errors: Matrix<D>,
    weights: Option<&Matrix<D>>,
    recorder: &mut Recorder<D>,
) -> Result<Scalar<D>, TensorError> {
    let errors = match weights {
        Some(weights) => recorder.binary(&errors, weights, |errors, weights| errors.try_mul(weights))?,
        None => errors,
    };
    recorder.unary(&errors, |errors| errors.try_mean::<(), Axes2<0, 1>>())
}

/// Mean squared error over all steps, samples and channels.
pub struct Mse;

impl<D: Backend> Loss<D> for Mse {
    fn value(
        &self,
        signal: &Steps<D>,
        target: &Matrix<D>,
        weights: Option<&Matrix<D>>,
        recorder: &mut Recorder<D>,
    ) -> Result<Scalar<D>, TensorError> {
        let errors = recorder.binary(&signal.data, target, |signal, target| signal.try_sub(target)?.try_square())?;
        mean(errors, weights, recorder)
    }
}

/// Mean absolute error over all steps, samples and channels.
pub struct L1;

impl<D: Backend> Loss<D> for L1 {
    fn value(
        &self,
        signal: &Steps<D>,
        target: &Matrix<D>,
        weights: Option<&Matrix<D>>,
        recorder: &mut Recorder<D>,
    ) -> Result<Scalar<D>, TensorError> {
        let errors = recorder.binary(&signal.data, target, |signal, target| signal.try_sub(target)?.try_abs())?;
        mean(errors, weights, recorder)
    }
}
