//! The kernels as operations of Burn's graph, each with its own backward pass.
//!
//! Each module has a trait of the passes that a backend brings, and the node of the graph that
//! calls them, once for all backends. They do no arithmetic.

pub(crate) mod attention;
pub(crate) mod embedding;
pub(crate) mod linear;
pub(crate) mod linear_cross_entropy;
pub(crate) mod nf4;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod swiglu;

use burn::tensor::Tensor;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube;
use crate::flex;

/// Whether there are kernels for a tensor's device and type.
pub(crate) fn has_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if cube::supports(tensor) {
        return true;
    }
    flex::supports(tensor)
}
