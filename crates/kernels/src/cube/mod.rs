//! Kernels for Burn's GPU backend, written once in CubeCL for CUDA and for wgpu (Vulkan, Metal,
//! DirectX).
//!
//! They read and write contiguous tensors, activations and their gradients in f32 or bf16, and
//! compute in f32. Sums have a fixed order (within a cube a tree, over
//! cubes the order of their results), so that a device gives the same bits every time.

pub(crate) mod adamw;
mod adapters;
pub(crate) mod answer_logits;
pub(crate) mod attention;
mod cast;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod dropout;
mod embedding;
mod launch;
mod linear;
mod linear_cross_entropy;
mod matmul;
pub(crate) mod nf4;
mod reduce;
mod rms_norm;
mod rope;
mod row_losses;
mod swiglu;
pub(crate) mod tensor;
#[cfg(all(test, feature = "wgpu"))]
mod tests;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Tensor};

/// Whether a device is a GPU.
pub(crate) fn is_gpu(device: &Device) -> bool {
    matches!(
        device.clone().inner().as_dispatch(),
        DispatchDevice::Cube(_)
    )
}

/// Whether these kernels support a tensor: f32 on a GPU, or bf16 on one that has bf16, with a graph
/// or without.
pub(crate) fn supports<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device().inner();
    is_gpu(&device)
        && match tensor.dtype() {
            DType::F32 => true,
            // A look-up among the properties of the open device.
            DType::BF16 => device.supports_dtype(DType::BF16),
            _ => false,
        }
}
