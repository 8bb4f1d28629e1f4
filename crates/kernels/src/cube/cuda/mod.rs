//! What is CUDA's alone, beside the kernels of CubeCL: NVIDIA's own matrix products, and attention
//! on tensor cores.

#![allow(unsafe_code, reason = "NVIDIA's libraries are written in C")]

pub(super) mod attention;
pub(crate) mod collectives;
pub(super) mod cublaslt;
pub(crate) mod stream;

use burn::backend::DispatchDevice;
use burn_cubecl::cubecl::Device;
use burn_cubecl::cubecl::client::Client;

use super::tensor::CubeTensor;

/// Whether a tensor is on a GPU that CubeCL reaches through CUDA.
pub(crate) fn is_cuda(tensor: &CubeTensor) -> bool {
    matches!(tensor.device, Device::Cuda(_))
}

/// The client of a GPU that CubeCL reaches through CUDA. None where a device is no such GPU.
pub(crate) fn client(device: &burn::tensor::Device) -> Option<Client> {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Cube(device @ Device::Cuda(_)) => Some(device.client()),
        _ => None,
    }
}

/// What NVIDIA's driver or library refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CudaError {
    /// The driver.
    Driver(cudarc::driver::sys::CUresult),
    /// cuBLASLt.
    Cublas(cudarc::cublaslt::sys::cublasStatus_t),
    /// NVRTC, in its own words.
    Compiler(String),
    /// CubeCL gave no memory.
    Memory,
    /// A collective of several processes, in the transport's words.
    Collective(String),
}

impl From<cudarc::driver::DriverError> for CudaError {
    fn from(error: cudarc::driver::DriverError) -> Self {
        Self::Driver(error.0)
    }
}

impl From<cudarc::nvrtc::CompileError> for CudaError {
    fn from(error: cudarc::nvrtc::CompileError) -> Self {
        Self::Compiler(match error {
            cudarc::nvrtc::CompileError::CompileError { log, .. } => {
                log.to_string_lossy().into_owned()
            }
            other => other.to_string(),
        })
    }
}

impl From<cudarc::cublaslt::result::CublasError> for CudaError {
    fn from(error: cudarc::cublaslt::result::CublasError) -> Self {
        Self::Cublas(error.0)
    }
}
