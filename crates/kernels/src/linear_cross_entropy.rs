//! Weighted cross-entropy of hidden states through a language-model head, without ever holding all
//! logits.

use burn::backend::DispatchDevice;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData, activation};

use crate::half_precision::{is_half, rounded};
use crate::operations::{self, linear_cross_entropy::Targets};
use crate::target_table::TargetTable;

mod chunked;

/// Rows of logits that are held at once on a CPU, unless a caller says otherwise.
pub const DEFAULT_CHUNK: usize = 512;

/// Rows of logits that are held at once on a GPU, which needs them to be busy, unless a caller says
/// otherwise. A trained head has its gradient read and written for each chunk, and gets twice as
/// many: those of a frozen head would be the largest tensor of Llama-2-7B's steps.
pub const fn gpu_chunk(trains_lm_head: bool) -> usize {
    if trains_lm_head { 2048 } else { 1024 }
}

/// How many rows of logits to hold at once on a device.
pub fn default_chunk(device: &Device, trains_lm_head: bool) -> usize {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Flex(_) => DEFAULT_CHUNK,
        #[allow(
            unreachable_patterns,
            reason = "without a GPU's backend flex is the only one"
        )]
        _ => gpu_chunk(trains_lm_head),
    }
}

/// The result of [`linear_cross_entropy`].
#[derive(Debug, Clone)]
pub struct LinearCrossEntropy {
    /// `[1]`: the weighted sum of the targets' losses, differentiable in hidden states and head.
    pub loss: Tensor<1>,
    /// `[targets]`: each target's cross-entropy in nats, unweighted and detached.
    pub target_losses: Tensor<1>,
}

/// `sum_t weight[t] * (logsumexp(z[row[t]]) - z[row[t], token[t]])` with `z = hidden * lm_head^T`.
///
/// `hidden` is `[rows, hidden]`, `lm_head` is `[vocab, hidden]`. Never more than `chunk` rows of
/// logits are held: where a graph is recorded, the forward pass computes the gradients of both
/// chunk by chunk (compare Liger's fused linear cross-entropy, and Cut Cross-Entropy, arXiv
/// 2411.09009). A row's log-sum-exp is computed in f32, once however many targets the row has.
///
/// On flex and on a GPU this takes one pass over the logits of each chunk; elsewhere it is
/// [`linear_cross_entropy_chunked`]. Both are tested against [`linear_cross_entropy_reference`].
///
/// # Panics
///
/// Where the table's columns differ in length, its rows descend, or a row or token is out of range.
/// Where hidden states and head differ in width. Where hidden states in f32 meet a head in half
/// precision, which is not converted, unlike the weights of [`linear`](crate::linear()). Each is a
/// bug of the caller.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    targets: TargetTable<'_>,
    chunk: usize,
) -> LinearCrossEntropy {
    let has_kernels = operations::has_kernels(&hidden);
    if is_half(&hidden) && !has_kernels {
        let half = FloatDType::from(hidden.dtype());
        let hidden = hidden.cast(FloatDType::F32);
        return linear_cross_entropy(hidden, rounded(lm_head, half), targets, chunk);
    }
    if !is_half(&hidden) {
        check_types(&hidden, &lm_head);
    }
    check(&hidden, &lm_head, targets);
    if !has_kernels {
        return linear_cross_entropy_chunked(hidden, lm_head, targets, chunk);
    }
    let (loss, losses) = operations::linear_cross_entropy::linear_cross_entropy(
        hidden,
        lm_head,
        Targets::new(targets, chunk),
    );
    LinearCrossEntropy {
        loss,
        target_losses: losses.inner(),
    }
}

/// [`linear_cross_entropy`] chunk by chunk in Burn operations, on every backend.
///
/// # Panics
///
/// As [`linear_cross_entropy`].
pub fn linear_cross_entropy_chunked(
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    targets: TargetTable<'_>,
    chunk: usize,
) -> LinearCrossEntropy {
    check_types(&hidden, &lm_head);
    check(&hidden, &lm_head, targets);
    let (loss, target_losses) = chunked::forward(hidden, lm_head, targets, chunk);
    LinearCrossEntropy {
        loss,
        target_losses,
    }
}

/// [`linear_cross_entropy`] as a chain of Burn operations that holds all logits.
///
/// # Panics
///
/// As [`linear_cross_entropy`].
pub fn linear_cross_entropy_reference(
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    targets: TargetTable<'_>,
) -> LinearCrossEntropy {
    let [vocab, _] = lm_head.dims();
    check_types(&hidden, &lm_head);
    check(&hidden, &lm_head, targets);
    let device = hidden.device().inner();
    let count = targets.row.len();
    let flat: Vec<i64> = targets
        .row
        .iter()
        .zip(targets.token)
        .map(|(&row, &token)| row as i64 * vocab as i64 + token as i64)
        .collect();
    let flat = Tensor::<1, Int>::from_data(TensorData::new(flat, [count]), &device);
    let weight = Tensor::<1>::from_data(TensorData::new(targets.weight.to_vec(), [count]), &device);
    let logits = hidden.matmul(lm_head.transpose());
    let log_probabilities = activation::log_softmax(logits, 1);
    let losses = log_probabilities.flatten::<1>(0, 1).select(0, flat).neg();
    LinearCrossEntropy {
        loss: (losses.clone() * weight).sum(),
        target_losses: losses.inner(),
    }
}

fn check(hidden: &Tensor<2>, lm_head: &Tensor<2>, targets: TargetTable<'_>) {
    let ([rows, width], [vocab, head_width]) = (hidden.dims(), lm_head.dims());
    assert_eq!(
        width, head_width,
        "hidden states and lm_head must have one width"
    );
    targets.check(rows, vocab);
}

fn check_types(hidden: &Tensor<2>, lm_head: &Tensor<2>) {
    assert_eq!(
        hidden.dtype(),
        lm_head.dtype(),
        "hidden states and lm_head must have one type"
    );
}

#[cfg(test)]
mod tests;
