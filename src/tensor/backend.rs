//! Devices: what is needed of one beyond dfdx's own operations.

use super::Buffer;
use dfdx::prelude::{Cpu, Device};

/// A device that networks run on. Closed: dfdx has these two.
pub trait Backend: Device<f32> {
    /// Its name.
    const NAME: DeviceName;

    /// Opens the device.
    fn open() -> Result<Self, DeviceError>;

    /// Copies a buffer to the host.
    fn read(buffer: &Buffer<Self>) -> Result<Vec<f32>, Self::Err>;

    /// Puts numbers of the host, as many as it has, into a buffer.
    fn write(buffer: &mut Buffer<Self>, values: &[f32]) -> Result<(), Self::Err>;

    /// Multiplies every number of a buffer.
    fn scale(buffer: &mut Buffer<Self>, factor: f32) -> Result<(), Self::Err>;

    /// Adds numbers of the host to a buffer, element by element.
    fn accumulate(into: &mut Buffer<Self>, values: &[f32]) -> Result<(), Self::Err>;
}

/// The name of a device, as `--device` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl DeviceName {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceName::Cpu => "cpu",
            DeviceName::Cuda => "cuda",
        }
    }
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The program was built without it.
    #[error("this program was built without CUDA; build it with `cargo build --release --features cuda`")]
    NotBuilt,
    /// The driver is not there, or found no GPU.
    #[error("CUDA cannot be used: {0}")]
    NoDriver(String),
}

impl Backend for Cpu {
    const NAME: DeviceName = DeviceName::Cpu;

    fn open() -> Result<Self, DeviceError> {
        Ok(Cpu::default())
    }

    fn read(buffer: &Buffer<Self>) -> Result<Vec<f32>, Self::Err> {
        Ok(buffer.to_vec())
    }

    fn write(buffer: &mut Buffer<Self>, values: &[f32]) -> Result<(), Self::Err> {
        buffer.copy_from_slice(values);
        Ok(())
    }

    fn scale(buffer: &mut Buffer<Self>, factor: f32) -> Result<(), Self::Err> {
        buffer.iter_mut().for_each(|value| *value *= factor);
        Ok(())
    }

    fn accumulate(into: &mut Buffer<Self>, values: &[f32]) -> Result<(), Self::Err> {
        into.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Backend for dfdx::prelude::Cuda {
    const NAME: DeviceName = DeviceName::Cuda;

    fn open() -> Result<Self, DeviceError> {
        // dfdx panics without a driver, so the driver is asked first.
        cudarc::driver::result::init().map_err(|error| DeviceError::NoDriver(format!("{error:?}")))?;
        Self::try_build(0, 0).map_err(|error| DeviceError::NoDriver(error.to_string()))
    }

    fn read(buffer: &Buffer<Self>) -> Result<Vec<f32>, Self::Err> {
        Ok(buffer.device().dtoh_sync_copy(&**buffer)?)
    }

    fn write(buffer: &mut Buffer<Self>, values: &[f32]) -> Result<(), Self::Err> {
        let device = buffer.device();
        Ok(device.htod_sync_copy_into(values, &mut **buffer)?)
    }

    fn scale(buffer: &mut Buffer<Self>, factor: f32) -> Result<(), Self::Err> {
        let device = buffer.device();
        let mut values = device.dtoh_sync_copy(&**buffer)?;
        values.iter_mut().for_each(|value| *value *= factor);
        Ok(device.htod_sync_copy_into(&values, &mut **buffer)?)
    }

    fn accumulate(into: &mut Buffer<Self>, values: &[f32]) -> Result<(), Self::Err> {
        let device = into.device();
        let mut sum = device.dtoh_sync_copy(&**into)?;
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        Ok(device.htod_sync_copy_into(&sum, &mut **into)?)
    }
}
