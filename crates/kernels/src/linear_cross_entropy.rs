//! Weighted cross-entropy of hidden states through a classifier, without ever holding all logits.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use crate::flex;
use crate::flex::operations::linear_cross_entropy::Targets;

/// Rows of logits that are held at once unless a caller says otherwise.
pub const DEFAULT_CHUNK: usize = 512;

/// Which predictions count, and how much: the columns of a small table with one line a target.
///
/// `row[t]` is the row of `hidden` that predicts target `t` (not descending), `token[t]` the token predicted, `weight[t]` its weight in
/// the loss, its normalisation included.
#[derive(Debug, Clone, Copy)]
pub struct TargetTable<'a> {
    /// `[targets]`: row of the hidden states, ascending.
    pub row: &'a [u32],
    /// `[targets]`: token predicted.
    pub token: &'a [u32],
    /// `[targets]`: weight in the loss.
    pub weight: &'a [f32],
}

/// What [`linear_cross_entropy`] returns.
#[derive(Debug, Clone)]
pub struct LinearCrossEntropy {
    /// `[1]`: the weighted sum of the targets' losses; differentiable in hidden states and classifier.
    pub loss: Tensor<1>,
    /// `[targets]`: each target's cross-entropy in nats, unweighted and detached.
    pub target_losses: Tensor<1>,
}

/// `sum_t weight[t] * (logsumexp(z[row[t]]) - z[row[t], token[t]])` with `z = hidden * classifier^T`.
///
/// `hidden` is `[rows, hidden]`, `classifier` is `[vocab, hidden]`. Never holds more than `chunk` rows of logits: the
/// gradients of both are computed chunk by chunk during the forward pass, where a graph is recorded at all (compare Liger's
/// fused linear cross-entropy, and Cut Cross-Entropy, arXiv 2411.09009), and a row's log-sum-exp is computed once however
/// many targets it has. Log-sum-exp is in f32. On flex with one pass over each chunk's logits; elsewhere
/// [`linear_cross_entropy_chunked`], and [`linear_cross_entropy_reference`] is the plain form of both.
///
/// # Panics
///
/// Where the table's columns differ in length, rows descend, or a row or token is out of range, or where hidden states and
/// classifier differ in width or in type (no classifier in half precision is widened, as [`linear`](crate::linear()) does
/// its weights): the caller's bug.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    classifier: Tensor<2>,
    targets: TargetTable<'_>,
    chunk: usize,
) -> LinearCrossEntropy {
    check(&hidden, &classifier, targets);
    if !flex::takes(&hidden) {
        return linear_cross_entropy_chunked(hidden, classifier, targets, chunk);
    }
    let (loss, losses) = flex::operations::linear_cross_entropy::linear_cross_entropy(
        hidden,
        classifier,
        Targets::new(targets, chunk),
    );
    LinearCrossEntropy {
        loss,
        target_losses: losses.inner(),
    }
}

/// The same chunk by chunk in Burn operations, on every backend.
///
/// # Panics
///
/// As [`linear_cross_entropy`] does.
pub fn linear_cross_entropy_chunked(
    hidden: Tensor<2>,
    classifier: Tensor<2>,
    targets: TargetTable<'_>,
    chunk: usize,
) -> LinearCrossEntropy {
    let [rows, hidden_size] = hidden.dims();
    let [vocab, _] = classifier.dims();
    check(&hidden, &classifier, targets);
    let (wants_hidden, wants_classifier) = (hidden.is_tracked(), classifier.is_tracked());
    let (plain_hidden, plain_classifier) = (hidden.clone().inner(), classifier.clone().inner());
    let device = plain_hidden.device();

    let mut target_losses = Vec::new();
    let mut hidden_gradients = Vec::new();
    let mut classifier_gradient: Option<Tensor<2>> = None;
    let mut first_target = 0;
    for first_row in (0..rows).step_by(chunk.max(1)) {
        let end_row = (first_row + chunk.max(1)).min(rows);
        let count = targets.row[first_target..].partition_point(|&r| (r as usize) < end_row);
        let chunk_targets = first_target..first_target + count;
        first_target += count;
        let chunk_hidden = plain_hidden
            .clone()
            .slice([first_row..end_row, 0..hidden_size]);
        if chunk_targets.is_empty() {
            if wants_hidden {
                hidden_gradients.push(chunk_hidden.zeros_like());
            }
            continue;
        }
        let logits = chunk_hidden
            .clone()
            .matmul(plain_classifier.clone().transpose());
        let maximum = logits.clone().max_dim(1);
        let exponentials = (logits.clone() - maximum.clone()).exp();
        let sums = exponentials.clone().sum_dim(1);
        let log_sum_exp = sums.clone().log() + maximum;

        let row_in_chunk = |t: usize| targets.row[t] as usize - first_row;
        let row_index: Vec<i64> = chunk_targets
            .clone()
            .map(|t| row_in_chunk(t) as i64)
            .collect();
        let flat_index: Vec<i64> = chunk_targets
            .clone()
            .map(|t| (row_in_chunk(t) * vocab + targets.token[t] as usize) as i64)
            .collect();
        let row_index = Tensor::<1, Int>::from_data(TensorData::new(row_index, [count]), &device);
        let flat_index = Tensor::<1, Int>::from_data(TensorData::new(flat_index, [count]), &device);
        let chosen = logits.flatten::<1>(0, 1).select(0, flat_index.clone());
        target_losses.push(log_sum_exp.flatten::<1>(0, 1).select(0, row_index) - chosen);

        if wants_hidden || wants_classifier {
            // d loss / d z = softmax(z) * (the row's summed weight) - weight at each target's token.
            let mut row_weight = vec![0f32; end_row - first_row];
            for t in chunk_targets.clone() {
                row_weight[row_in_chunk(t)] += targets.weight[t];
            }
            let row_weight = Tensor::<2>::from_data(
                TensorData::new(row_weight, [end_row - first_row, 1]),
                &device,
            );
            let weight = TensorData::new(targets.weight[chunk_targets].to_vec(), [count]);
            let weight = Tensor::<1>::from_data(weight, &device);
            let logit_gradient = (exponentials * (row_weight / sums))
                .flatten::<1>(0, 1)
                .select_assign(0, flat_index, weight.neg(), IndexingUpdateOp::Add)
                .reshape([end_row - first_row, vocab]);
            if wants_classifier {
                let part = logit_gradient.clone().transpose().matmul(chunk_hidden);
                classifier_gradient = Some(match classifier_gradient {
                    Some(sum) => sum + part,
                    None => part,
                });
            }
            if wants_hidden {
                hidden_gradients.push(logit_gradient.matmul(plain_classifier.clone()));
            }
        }
    }

    let target_losses = if target_losses.is_empty() {
        Tensor::<1>::from_data(TensorData::new(Vec::<f32>::new(), [0]), &device)
    } else {
        Tensor::cat(target_losses, 0)
    };
    let weight = TensorData::new(targets.weight.to_vec(), [targets.weight.len()]);
    let value = if targets.weight.is_empty() {
        Tensor::<1>::zeros([1], &device)
    } else {
        (target_losses.clone() * Tensor::<1>::from_data(weight, &device)).sum()
    };
    let mut loss = value;
    if wants_hidden && !hidden_gradients.is_empty() {
        loss = attach_gradient(loss, hidden, Tensor::cat(hidden_gradients, 0));
    }
    if wants_classifier && let Some(gradient) = classifier_gradient {
        loss = attach_gradient(loss, classifier, gradient);
    }
    LinearCrossEntropy {
        loss,
        target_losses,
    }
}

/// Gives a value the gradient that is known for `input`: `value + (x - x')` with `x = sum(input * gradient)` and `x'`
/// its constant copy, so that the value stays exact and the backward pass hands `input` the gradient times whatever
/// comes from above.
fn attach_gradient<const D: usize>(
    value: Tensor<1>,
    input: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<1> {
    let carrier = (input * gradient.autodiff()).sum();
    let constant = carrier.clone().detach();
    value.autodiff() + (carrier - constant)
}

/// The same function as a plain chain of Burn operations that holds all logits: the reference for tests.
///
/// # Panics
///
/// As [`linear_cross_entropy`] does.
pub fn linear_cross_entropy_reference(
    hidden: Tensor<2>,
    classifier: Tensor<2>,
    targets: TargetTable<'_>,
) -> LinearCrossEntropy {
    let [vocab, _] = classifier.dims();
    check(&hidden, &classifier, targets);
    let device = hidden.device().inner();
    let count = targets.row.len();
    let flat: Vec<i64> = targets
        .row
        .iter()
        .zip(targets.token)
        .map(|(&r, &t)| r as i64 * vocab as i64 + t as i64)
        .collect();
    let flat = Tensor::<1, Int>::from_data(TensorData::new(flat, [count]), &device);
    let weight = Tensor::<1>::from_data(TensorData::new(targets.weight.to_vec(), [count]), &device);
    let logits = hidden.matmul(classifier.transpose());
    let log_probabilities = burn::tensor::activation::log_softmax(logits, 1);
    let losses = log_probabilities.flatten::<1>(0, 1).select(0, flat).neg();
    LinearCrossEntropy {
        loss: (losses.clone() * weight).sum(),
        target_losses: losses.inner(),
    }
}

fn check(hidden: &Tensor<2>, classifier: &Tensor<2>, targets: TargetTable<'_>) {
    let ([rows, width], [vocab, classifier_width]) = (hidden.dims(), classifier.dims());
    assert_eq!(
        width, classifier_width,
        "hidden states and classifier must have one width"
    );
    assert_eq!(
        hidden.dtype(),
        classifier.dtype(),
        "hidden states and classifier must have one type"
    );
    assert!(
        targets.row.len() == targets.token.len() && targets.row.len() == targets.weight.len(),
        "a target table's columns must have one length"
    );
    assert!(targets.row.is_sorted(), "a target table's rows must ascend");
    assert!(
        targets.row.last().is_none_or(|&r| (r as usize) < rows),
        "a target's row is out of range"
    );
    assert!(
        targets.token.iter().all(|&t| (t as usize) < vocab),
        "a target's token is not in the vocabulary"
    );
}

#[cfg(test)]
mod tests;
