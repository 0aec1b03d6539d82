//! Losses: what training lowers, a number from a signal and the target.

use crate::tensor::{Backend, Matrix, Recorder, Scalar, Steps, TensorError};
use dfdx::prelude::*;

/// A loss on a device.
pub trait Loss<D: Backend>: Send {
    /// The loss of a signal `[time * batch, channels]` against a target of the same shape.
    fn value(
        &self,
        signal: &Steps<D>,
        target: &Matrix<D>,
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

/// A loss and its gradient in one pass on the processor: gives the loss of a signal against the target, and adds
/// `weight` times its derivative to the gradient, if one is asked for.
pub type DirectLoss = fn(signal: &[f32], target: &[f32], weight: f32, gradient: Option<&mut [f32]>) -> f32;

fn direct(
    signal: &[f32],
    target: &[f32],
    gradient: Option<&mut [f32]>,
    value: fn(f32) -> f32,
    slope: impl Fn(f32) -> f32,
) -> f32 {
    let errors = || signal.iter().zip(target).map(|(s, t)| s - t);
    if let Some(gradient) = gradient {
        gradient.iter_mut().zip(errors()).for_each(|(gradient, error)| *gradient += slope(error));
    }
    errors().map(value).sum::<f32>() / target.len() as f32
}

/// [`Mse`] with its gradient.
pub fn mse(signal: &[f32], target: &[f32], weight: f32, gradient: Option<&mut [f32]>) -> f32 {
    let factor = 2.0 * weight / target.len() as f32;
    direct(signal, target, gradient, |e| e * e, |e| factor * e)
}

/// [`L1`] with its gradient, 0 where there is no error.
pub fn l1(signal: &[f32], target: &[f32], weight: f32, gradient: Option<&mut [f32]>) -> f32 {
    let factor = weight / target.len() as f32;
    direct(signal, target, gradient, f32::abs, |e| if e == 0.0 { 0.0 } else { factor * e.signum() })
}

/// Mean squared error over all steps, samples and channels.
pub struct Mse;

impl<D: Backend> Loss<D> for Mse {
    fn value(
        &self,
        signal: &Steps<D>,
        target: &Matrix<D>,
        recorder: &mut Recorder<D>,
    ) -> Result<Scalar<D>, TensorError> {
        recorder.binary(&signal.data, target, |signal, target| {
            signal.try_sub(target)?.try_square()?.try_mean::<(), Axes2<0, 1>>()
        })
    }
}

/// Mean absolute error over all steps, samples and channels.
pub struct L1;

impl<D: Backend> Loss<D> for L1 {
    fn value(
        &self,
        signal: &Steps<D>,
        target: &Matrix<D>,
        recorder: &mut Recorder<D>,
    ) -> Result<Scalar<D>, TensorError> {
        recorder.binary(&signal.data, target, |signal, target| {
            signal.try_sub(target)?.try_abs()?.try_mean::<(), Axes2<0, 1>>()
        })
    }
}
