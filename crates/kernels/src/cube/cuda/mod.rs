//! What is CUDA's alone: NVIDIA's own matrix products, beside the kernels of CubeCL.

pub(super) mod cublaslt;
mod stream;

use burn_cubecl::cubecl::Device;

use super::tensor::CubeTensor;

/// Whether a tensor is on a GPU that CubeCL reaches through CUDA.
pub(super) fn is_cuda(tensor: &CubeTensor) -> bool {
    matches!(tensor.device, Device::Cuda(_))
}

/// What NVIDIA's driver or library refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CudaError {
    /// The driver.
    Driver(cudarc::driver::sys::CUresult),
    /// cuBLASLt.
    Cublas(cudarc::cublaslt::sys::cublasStatus_t),
    /// CubeCL gave no memory.
    Memory,
}

impl From<cudarc::driver::DriverError> for CudaError {
    fn from(error: cudarc::driver::DriverError) -> Self {
        Self::Driver(error.0)
    }
}

impl From<cudarc::cublaslt::result::CublasError> for CudaError {
    fn from(error: cudarc::cublaslt::result::CublasError) -> Self {
        Self::Cublas(error.0)
    }
}
