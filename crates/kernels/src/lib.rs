//! Differentiable Burn operations of a Llama: attention, linear cross-entropy, RMSNorm, RoPE, SwiGLU, AdamW.
//!
//! Knows tensors; knows no model, no file, no question. Every function runs on every backend: on flex, the CPU's, as a kernel
//! with a backward pass of its own, elsewhere as the plain Burn operations of its `_reference`, which tests hold it to.
#![doc = include_str!("../README.md")]

mod adamw;
mod attention;
mod embedding;
mod flex;
mod linear;
mod linear_cross_entropy;
mod rms_norm;
mod rope;
mod span;
mod swiglu;

pub use adamw::{
    AdamW, Moments, adamw, adamw_reference, clip_factor, squared_norm, squared_norm_reference,
};
pub use attention::{AttentionHeads, AttentionMask, attention, attention_reference};
pub use embedding::{embedding, embedding_reference};
pub use flex::{VectorWidth, limit_vector_width};
pub use linear::{LinearInput, LinearWeight, LowRank, linear, linear_reference};
pub use linear_cross_entropy::{
    DEFAULT_CHUNK, LinearCrossEntropy, TargetTable, linear_cross_entropy,
    linear_cross_entropy_chunked, linear_cross_entropy_reference,
};
pub use rms_norm::{rms_norm, rms_norm_reference};
pub use rope::{Rotations, rotate, rotate_reference};
pub use swiglu::{swiglu, swiglu_reference};
