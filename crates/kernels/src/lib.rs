//! Differentiable Burn operations of a Llama: attention, linear cross-entropy, RMSNorm, RoPE, SwiGLU, AdamW.
//!
//! Knows tensors; knows no model, no file, no question. Every function here is in plain Burn operations, so that it runs
//! on every backend.
#![doc = include_str!("../README.md")]

mod adamw;
mod linear_cross_entropy;

pub use adamw::{AdamW, Moments, adamw, clip_factor, squared_norm};
pub use linear_cross_entropy::{
    DEFAULT_CHUNK, LinearCrossEntropy, TargetTable, linear_cross_entropy,
    linear_cross_entropy_reference,
};
