//! What can go wrong in an evaluation.

use plw_loss::WeightError;
use plw_transport::TransportError;

/// Why a model cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// Nothing of an example is predicted.
    #[error("{file} row {row}: {cause}")]
    Weight {
        /// The example's file.
        file: String,
        /// Its row there.
        row: u64,
        /// Why.
        cause: WeightError,
    },
    /// A token has no embedding, and no logit.
    #[error(
        "{file} row {row}: token {token} is outside the model's vocabulary of {vocabulary} tokens; \
         give the tokenizer that the model was trained with"
    )]
    UnknownToken {
        /// The example's file.
        file: String,
        /// Its row there.
        row: u64,
        /// The token: one of the example's, or one that an option would put in the answer's place.
        token: u32,
        /// Number of tokens that the model knows.
        vocabulary: usize,
    },
    /// No option can be chosen among such logits.
    #[error(
        "the model's logits are not finite at the answer of {file} row {row}: \
         its weights are damaged, or its training diverged"
    )]
    NotFinite {
        /// The question's file.
        file: String,
        /// Its row there.
        row: u64,
    },
    /// A mean over such losses says nothing.
    #[error(
        "the model's loss on {file} row {row} is not finite: \
         its weights are damaged, or its training diverged"
    )]
    LossNotFinite {
        /// The example's file.
        file: String,
        /// Its row there.
        row: u64,
    },
    /// The processes that share the evaluation cannot exchange anything.
    #[error(transparent)]
    Transport(#[from] TransportError),
}
