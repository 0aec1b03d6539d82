//! Losses: what training lowers, a number from a signal and the target.

use crate::keys;
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
pub struct Scored<'a> {
    /// `[time * batch, channels]`.
    pub signal: &'a [f32],
    /// The same shape.
    pub target: &'a [f32],
    /// How much each row counts, 1 on average over all of a batch; empty where all count alike.
    pub weights: &'a [f32],
}

/// A loss and its gradient in one pass on the processor, with which the fused executor runs it.
pub trait DirectLoss: Send + Sync {
    /// Gives the loss, and adds `weight` times its derivative to the gradient, if one is asked for.
    fn add(&self, pair: Scored<'_>, weight: f32, gradient: Option<&mut [f32]>) -> f32;
}

/// The mean of a function of each error, and `factor` times its derivative, whose mean is the gradient.
fn direct(
    pair: Scored<'_>,
    weight: f32,
    gradient: Option<&mut [f32]>,
    value: impl Fn(f32) -> f32,
    slope: impl Fn(f32, f32) -> f32,
) -> f32 {
    let Scored { signal, target, weights } = pair;
    let errors = || signal.iter().zip(target).map(|(s, t)| s - t);
    let factor = weight / target.len() as f32;
    if weights.is_empty() {
        if let Some(gradient) = gradient {
            gradient.iter_mut().zip(errors()).for_each(|(gradient, error)| *gradient += slope(factor, error));
        }
        return errors().map(value).sum::<f32>() / target.len() as f32;
    }
    let channels = (target.len() / weights.len()).max(1);
    let weighted = || weights.iter().flat_map(|weight| std::iter::repeat_n(*weight, channels)).zip(errors());
    if let Some(gradient) = gradient {
        gradient
            .iter_mut()
            .zip(weighted())
            .for_each(|(gradient, (weight, error))| *gradient += weight * slope(factor, error));
    }
    weighted().map(|(weight, error)| weight * value(error)).sum::<f32>() / target.len() as f32
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

impl DirectLoss for Mse {
    fn add(&self, pair: Scored<'_>, weight: f32, gradient: Option<&mut [f32]>) -> f32 {
        direct(pair, 2.0 * weight, gradient, |e| e * e, |factor, e| factor * e)
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

impl DirectLoss for L1 {
    fn add(&self, pair: Scored<'_>, weight: f32, gradient: Option<&mut [f32]>) -> f32 {
        // The derivative is 0 where there is no error.
        direct(pair, weight, gradient, f32::abs, |factor, e| if e == 0.0 { 0.0 } else { factor * e.signum() })
    }
}

keys! {
    /// The mean of a function of each error that is `e^2 / 2` up to `delta` and goes on as a line: with `c` the error clamped
    /// to `delta` either way, `c (e - c / 2)`. Source: Huber 1964, Annals of Mathematical Statistics 35(1), 73-101.
    pub struct Huber {
        /// the error from which on it grows as a line, in the unit of what it is computed from
        delta: f64 = number(Range::POSITIVE).or(1.0),
    }
}

impl<D: Backend> Loss<D> for Huber {
    fn value(
        &self,
        signal: &Steps<D>,
        target: &Matrix<D>,
        weights: Option<&Matrix<D>>,
        recorder: &mut Recorder<D>,
    ) -> Result<Scalar<D>, TensorError> {
        let delta = self.delta as f32;
        let errors = recorder.binary(&signal.data, target, |signal, target| signal.try_sub(target))?;
        let clamped = recorder.unary(&errors, |errors| errors.try_clamp(-delta, delta))?;
        let half = recorder.unary(&clamped, |clamped| clamped.try_mul(0.5))?;
        let rest = recorder.binary(&errors, &half, |errors, half| errors.try_sub(half))?;
        let values = recorder.binary(&clamped, &rest, |clamped, rest| clamped.try_mul(rest))?;
        mean(values, weights, recorder)
    }
}

impl DirectLoss for Huber {
    fn add(&self, pair: Scored<'_>, weight: f32, gradient: Option<&mut [f32]>) -> f32 {
        let delta = self.delta as f32;
        let clamped = |e: f32| e.clamp(-delta, delta);
        let value = |e: f32| clamped(e) * (e - clamped(e) * 0.5);
        direct(pair, weight, gradient, value, |factor, e| factor * clamped(e))
    }
}
