//! Differentiable Burn operations of a Llama: attention, linear cross-entropy, RMSNorm, RoPE,
//! SwiGLU and AdamW.
//!
//! The crate knows tensors; it knows no model, file or data set, so that it can be used without
//! any. Every function runs on every backend. On flex, Burn's CPU backend, and on Burn's GPU
//! backend (features `cuda` and `wgpu`) it is a kernel with its own backward pass. Elsewhere it is
//! the chain of Burn operations in its `_reference`, which tests compare the kernels with.
#![doc = include_str!("../README.md")]

mod adamw;
mod answer_logits;
mod attention;
mod attention_mask;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod cube;
mod dequantize;
mod device_sum;
mod dropout_mask;
mod embedding;
mod finite_flags;
mod flex;
mod gpu;
mod gradient_norm;
mod half_precision;
mod integers;
#[cfg(any(feature = "cuda", test))]
mod key_pieces;
mod linear;
mod linear_cross_entropy;
mod linear_operands;
mod logits;
mod nf4;
mod nf4_weight;
mod operations;
mod queue_point;
mod readback;
mod rms_norm;
mod rope;
mod rotary_embedding;
mod span;
mod swiglu;
mod target_table;

pub use adamw::{
    AdamW, AdamWStep, AdamWUpdate, Moments, Updated, adamw, adamw_reference, adamw_together,
};
pub use answer_logits::{AnswerLogits, AnswerTable, answer_logits, answer_logits_reference};
pub use attention::{AttentionHeads, attention, attention_reference};
pub use attention_mask::AttentionMask;
pub use dequantize::{dequantize, dequantize_reference};
pub use device_sum::{device_sum, is_on_cuda};
pub use dropout_mask::{DropoutMask, TokenKeys, split_mix};
pub use embedding::{embedding, embedding_reference, select_rows};
pub use finite_flags::FiniteFlags;
pub use flex::{VectorWidth, limit_vector_width};
#[cfg(feature = "wgpu")]
pub use gpu::preferred_wgpu_device;
pub use gpu::{CudaLibraries, Gpu, GpuRuntime, gpus, prepare_pages, reserved_memory, return_pages};
pub use gradient_norm::{
    GradientFactor, GradientNorm, clip_factor, squared_norm, squared_norm_reference,
};
pub use linear::{linear, linear_gradients, linear_gradients_reference, linear_reference};
pub use linear_cross_entropy::{
    DEFAULT_CHUNK, LinearCrossEntropy, default_chunk, gpu_chunk, linear_cross_entropy,
    linear_cross_entropy_chunked, linear_cross_entropy_reference,
};
pub use linear_operands::{
    LinearInput, LinearOperands, LinearWeight, LowRankAdapter, WeightMatrix,
};
pub use logits::logits;
pub use nf4_weight::Nf4Weight;
pub use queue_point::QueuePoint;
pub use readback::{Readback, has_queue};
pub use rms_norm::{rms_norm, rms_norm_reference};
pub use rope::{apply_rotary, apply_rotary_reference};
pub use rotary_embedding::RotaryEmbedding;
pub use swiglu::{swiglu, swiglu_reference};
pub use target_table::TargetTable;
