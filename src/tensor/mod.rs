//! dfdx tensors with run-time shapes: the devices they live on and the tape that their operations are recorded on.
//!
//! Everything above (neurons, layers, training) is generic over [`Backend`] and records through [`Recorder`].

mod aligned;
mod backend;
pub mod product;
mod recorder;

pub use aligned::Aligned;
pub use backend::{Backend, DeviceError, DeviceName};
pub use recorder::{Chain, Recorder, Steps, Taped};

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

/// Whether all of some numbers are finite.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub fn is_finite(values: &[f32]) -> bool {
    // The largest of all numbers without their signs is as large as infinity where one of them is infinite or none; as whole
    // numbers, and without a branch, they are compared many at a time.
    values.iter().fold(0, |largest: i32, value| largest.max((value.to_bits() & 0x7fff_ffff) as i32)) < 0x7f80_0000
}

#[cfg(test)]
mod tests {
    use super::is_finite;

    #[test]
    fn one_number_that_is_not_finite_is_found_wherever_it_stands() {
        for len in 0..70 {
            let mut values: Vec<f32> = (0..len).map(|i| (i as f32 - 30.0) / 64.0 * f32::MAX).collect();
            assert!(is_finite(&values));
            for place in 0..len {
                for broken in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let whole = std::mem::replace(&mut values[place], broken);
                    assert!(!is_finite(&values), "{broken} at {place} of {len}");
                    values[place] = whole;
                }
            }
        }
    }
}
