//! The kernels as operations of Burn's graph, each with its own backward pass.

pub(crate) mod attention;
pub(crate) mod embedding;
pub(crate) mod linear;
pub(crate) mod linear_cross_entropy;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod swiglu;
