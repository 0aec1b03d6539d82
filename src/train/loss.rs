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
