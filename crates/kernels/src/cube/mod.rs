//! Kernels for Burn's GPU backend, written once in CubeCL for CUDA and for wgpu (Vulkan, Metal,
//! DirectX).
//!
//! They read and write contiguous f32 tensors. Sums have a fixed order (within a cube a tree, over
//! cubes the order of their results), so that a device gives the same bits every time.

pub(crate) mod adamw;
pub(crate) mod attention;
#[cfg(feature = "cuda")]
mod cuda;
mod embedding;
mod launch;
mod linear;
mod linear_cross_entropy;
mod matmul;
mod reduce;
mod rms_norm;
mod rope;
mod swiglu;
pub(crate) mod tensor;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

/// Whether these kernels support a tensor: f32 on a GPU, with a graph or without.
pub(crate) fn supports<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device().inner();
    matches!(device.as_dispatch(), DispatchDevice::Cube(_)) && tensor.dtype() == DType::F32
}
