//! Kernels for Burn's CPU backend, flex: passes over slices of f32, which know nothing of Burn.

#![allow(
    unsafe_code,
    reason = "strided matrices, results that tasks write side by side, results that are not cleared"
)]

pub(crate) mod adamw;
pub(crate) mod answer_logits;
pub(crate) mod attention;
mod buffer;
mod disjoint;
mod dropout;
pub(crate) mod embedding;
pub(crate) mod half_precision;
pub(crate) mod linear;
pub(crate) mod linear_cross_entropy;
mod matmul;
pub(crate) mod nf4;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod swiglu;
pub(crate) mod tensor;
mod vector;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

pub use vector::{VectorWidth, limit_vector_width};

/// Whether these kernels support a tensor: f32 on flex, with a graph or without.
pub(crate) fn supports<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device().inner();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_)) && tensor.dtype() == DType::F32
}
