//! Differentiable Burn operations of a Llama: attention, linear cross-entropy, RMSNorm, RoPE, SwiGLU, AdamW.
//!
//! Knows tensors; knows no model, no file, no question. Every function here is in plain Burn operations, so that it runs
//! on every backend.
#![doc = include_str!("../README.md")]

mod adamw;
mod attention;
mod linear_cross_entropy;
mod rms_norm;
mod rope;
mod swiglu;

pub use adamw::{AdamW, Moments, adamw, clip_factor, squared_norm};
pub use attention::{AttentionMask, attention};
pub use linear_cross_entropy::{
    DEFAULT_CHUNK, LinearCrossEntropy, TargetTable, linear_cross_entropy,
    linear_cross_entropy_reference,
};
pub use rms_norm::rms_norm;
pub use rope::{Rotations, rotate};
pub use swiglu::swiglu;
