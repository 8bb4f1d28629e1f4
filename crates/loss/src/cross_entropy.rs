//! The weighted cross-entropy of a batch's targets, fused with the language-model head.

use burn::tensor::Tensor;
use plw_kernels::TargetTable;
pub use plw_kernels::{DEFAULT_CHUNK, LinearCrossEntropy, default_chunk, gpu_chunk, logits};

use crate::WeightedTargets;

/// Weighted cross-entropy of hidden states `[rows, hidden]` through a head `[vocab, hidden]`.
///
/// `hidden` holds the rows that `targets.rows` names, in that order. Never more than `chunk` rows
/// of logits are held. Returns the loss and the detached per-target losses `[targets]`.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    targets: &WeightedTargets,
    chunk: usize,
) -> LinearCrossEntropy {
    plw_kernels::linear_cross_entropy(hidden, lm_head, table(targets), chunk)
}

/// The same as a plain chain of Burn operations that holds all logits: the reference for tests.
pub fn linear_cross_entropy_reference(
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    targets: &WeightedTargets,
) -> LinearCrossEntropy {
    plw_kernels::linear_cross_entropy_reference(hidden, lm_head, table(targets))
}

fn table(targets: &WeightedTargets) -> TargetTable<'_> {
    TargetTable {
        row: &targets.row,
        token: &targets.token,
        weight: &targets.weight,
    }
}
