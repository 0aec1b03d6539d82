//! dfdx tensors with run-time shapes: the devices they live on and the tape that their operations are recorded on.
//!
//! Everything above (neurons, layers, training) is generic over [`Backend`] and records through [`Recorder`].

mod aligned;
mod backend;
pub mod product;
mod recorder;

pub use aligned::Aligned;
pub use backend::{Backend, DeviceError, DeviceName};
pub use recorder::{Recorder, Steps, Taped};

use dfdx::prelude::Tensor;
use dfdx::tensor::Storage;

/// A matrix on a device. Sequences are time-major: `[time * batch, neurons]`.
pub type Matrix<D> = Tensor<(usize, usize), f32, D>;

/// A number on a device.
pub type Scalar<D> = Tensor<(), f32, D>;

/// The memory of a tensor on a device.
pub type Buffer<D> = <D as Storage<f32>>::Vec;

/// A tensor operation failed, for want of memory or on the device's side.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the device failed: {0}")]
pub struct TensorError(pub String);

impl TensorError {
    /// Takes over an error of dfdx.
    pub fn from_device(error: impl std::fmt::Display) -> Self {
        TensorError(error.to_string())
    }
}

/// Whether all of some numbers are finite; without a branch, so that it takes no time to speak of.
pub fn is_finite(values: &[f32]) -> bool {
    !values.iter().fold(false, |broken, value| broken | !value.is_finite())
}
