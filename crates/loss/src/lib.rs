//! What a target is worth. Knows weights and hidden states; knows no file, no model, no question.
//!
//! An optimizer step's loss is `sum(w_i l_i) / D`: [`TokenWeights`] gives the `w_i`, a [`Normalizer`] the `D` of the whole
//! step, fixed before its first forward pass, and [`linear_cross_entropy`] the sum for one of its batches.
#![doc = include_str!("../README.md")]

mod cross_entropy;
mod losses;
mod normalization;
mod weighted_targets;
mod weights;

pub use cross_entropy::{
    DEFAULT_CHUNK, LinearCrossEntropy, linear_cross_entropy, linear_cross_entropy_reference,
};
pub use losses::{LossTotals, MeanLosses};
pub use normalization::{Normalization, Normalizer};
pub use weighted_targets::WeightedTargets;
pub use weights::{TokenWeights, WeightError};
