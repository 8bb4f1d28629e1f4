//! What a target is worth. Knows weights and hidden states; knows no file, no model, no question.
//!
//! An optimizer step minimizes an [`Objective`], `sum(w_i l_i) / D`. A [`Normalizer`] holds the `D`
//! of the whole step, fixed before its first forward pass, and [`linear_cross_entropy`] computes
//! the sum for one of the step's batches.
#![doc = include_str!("../README.md")]

mod cross_entropy;
mod losses;
mod normalization;
mod normalizer;
mod objective;
mod weighted_targets;
mod weights;

pub use cross_entropy::{
    DEFAULT_CHUNK, LinearCrossEntropy, default_chunk, gpu_chunk, linear_cross_entropy,
    linear_cross_entropy_reference, logits,
};
pub use losses::{LossTotals, MeanLosses};
pub use normalization::Normalization;
pub use normalizer::Normalizer;
pub use objective::Objective;
pub use weighted_targets::WeightedTargets;
pub use weights::{TokenWeights, WeightError};
