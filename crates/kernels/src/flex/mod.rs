//! Kernels for Burn's CPU backend, flex: passes over slices, and how Burn calls them.
//!
//! The passes (one module each) know slices of f32 and nothing of Burn; [`operations`] knows Burn's tensors and graph, and
//! nothing of arithmetic.

#![allow(
    unsafe_code,
    reason = "views of strided matrices, places that tasks write side by side, and results that are not cleared first"
)]

pub(crate) mod adamw;
pub(crate) mod attention;
mod buffer;
mod embedding;
mod half_precision;
mod linear;
mod linear_cross_entropy;
mod low_rank;
mod matmul;
pub(crate) mod operands;
pub(crate) mod operations;
mod rms_norm;
mod rope;
mod shared;
mod swiglu;
mod vector;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

pub use vector::{VectorWidth, limit_vector_width};

/// Whether these kernels can take a tensor: numbers in f32 on flex, with a graph or without.
pub(crate) fn takes<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device().inner();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_)) && tensor.dtype() == DType::F32
}
