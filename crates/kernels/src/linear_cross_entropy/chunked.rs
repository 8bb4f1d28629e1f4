//! Weighted cross-entropy in Burn operations, chunk by chunk.

use std::ops::Range;

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::target_table::TargetTable;

/// The loss `[1]` and the losses of the targets `[targets]`. The arguments were checked.
pub(super) fn forward(
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    targets: TargetTable<'_>,
    chunk: usize,
) -> (Tensor<1>, Tensor<1>) {
    let [rows, _] = hidden.dims();
    let (wants_hidden, wants_lm_head) = (hidden.is_tracked(), lm_head.is_tracked());
    let (plain_hidden, plain_lm_head) = (hidden.clone().inner(), lm_head.clone().inner());
    let device = plain_hidden.device();

    let mut target_losses = Vec::new();
    let mut grad_hidden = Vec::new();
    let mut grad_lm_head: Option<Tensor<2>> = None;
    let mut first_target = 0;
    for first_row in (0..rows).step_by(chunk.max(1)) {
        let rows = first_row..(first_row + chunk.max(1)).min(rows);
        let chunk_hidden = plain_hidden.clone().slice([rows.clone()]);
        let chunk = Chunk::new(targets, first_target, rows, &device);
        first_target += chunk.targets.len();
        if chunk.targets.is_empty() {
            if wants_hidden {
                grad_hidden.push(chunk_hidden.zeros_like());
            }
            continue;
        }
        let logits = chunk_hidden
            .clone()
            .matmul(plain_lm_head.clone().transpose());
        let softmax = Softmax::new(&logits);
        target_losses.push(chunk.losses(logits, &softmax));
        if !wants_hidden && !wants_lm_head {
            continue;
        }
        let grad_logits = chunk.grad_logits(softmax);
        if wants_lm_head {
            let part = grad_logits.clone().transpose().matmul(chunk_hidden);
            grad_lm_head = Some(match grad_lm_head {
                Some(sum) => sum + part,
                None => part,
            });
        }
        if wants_hidden {
            grad_hidden.push(grad_logits.matmul(plain_lm_head.clone()));
        }
    }

    let (mut loss, target_losses) = sum(target_losses, targets.weight, &device);
    if wants_hidden && !grad_hidden.is_empty() {
        loss = attach_gradient(loss, hidden, Tensor::cat(grad_hidden, 0));
    }
    if let Some(gradient) = grad_lm_head {
        loss = attach_gradient(loss, lm_head, gradient);
    }
    (loss, target_losses)
}

/// Some rows of the hidden states, and their targets.
struct Chunk<'a> {
    table: TargetTable<'a>,
    targets: Range<usize>,
    rows: Range<usize>,
    device: &'a Device,
}

/// The softmax of a chunk's logits, not yet divided.
struct Softmax {
    /// `[rows, vocab]`: of the logits minus the row's maximum.
    exponentials: Tensor<2>,
    /// `[rows, 1]`: sums of the exponentials.
    sums: Tensor<2>,
    /// `[rows, 1]`.
    log_sum_exp: Tensor<2>,
}

impl Softmax {
    fn new(logits: &Tensor<2>) -> Self {
        let maximum = logits.clone().max_dim(1);
        let exponentials = (logits.clone() - maximum.clone()).exp();
        let sums = exponentials.clone().sum_dim(1);
        Self {
            log_sum_exp: sums.clone().log() + maximum,
            exponentials,
            sums,
        }
    }
}

impl<'a> Chunk<'a> {
    /// Those rows; `first_target` is the first target that is not of a row before them.
    fn new(
        table: TargetTable<'a>,
        first_target: usize,
        rows: Range<usize>,
        device: &'a Device,
    ) -> Self {
        let rest = &table.row[first_target..];
        let count = rest.partition_point(|&row| (row as usize) < rows.end);
        Self {
            table,
            targets: first_target..first_target + count,
            rows,
            device,
        }
    }

    /// A target's row in the chunk.
    fn row(&self, target: usize) -> usize {
        self.table.row[target] as usize - self.rows.start
    }

    /// `[targets]`: an index for each target.
    fn index(&self, index: impl Fn(usize) -> usize) -> Tensor<1, Int> {
        let values: Vec<i64> = self.targets.clone().map(|t| index(t) as i64).collect();
        Tensor::from_data(TensorData::new(values, [self.targets.len()]), self.device)
    }

    /// `[targets]`: where each target's logit is among the chunk's logits.
    fn logit_index(&self, vocab: usize) -> Tensor<1, Int> {
        self.index(|t| self.row(t) * vocab + self.table.token[t] as usize)
    }

    /// `[targets]`.
    fn losses(&self, logits: Tensor<2>, softmax: &Softmax) -> Tensor<1> {
        let index = self.logit_index(logits.dims()[1]);
        let chosen = logits.flatten::<1>(0, 1).select(0, index);
        let log_sum_exp = softmax.log_sum_exp.clone().flatten::<1>(0, 1);
        log_sum_exp.select(0, self.index(|t| self.row(t))) - chosen
    }

    /// The gradient of the logits: `softmax(z) * (the row's summed weight) - weight at each
    /// target's token`.
    fn grad_logits(&self, softmax: Softmax) -> Tensor<2> {
        let [rows, vocab] = softmax.exponentials.dims();
        let mut row_weight = vec![0f32; rows];
        for t in self.targets.clone() {
            row_weight[self.row(t)] += self.table.weight[t];
        }
        let row_weight =
            Tensor::<2>::from_data(TensorData::new(row_weight, [rows, 1]), self.device);
        let weight = self.table.weight[self.targets.clone()].to_vec();
        let count = weight.len();
        let weight = Tensor::<1>::from_data(TensorData::new(weight, [count]), self.device);
        let index = self.logit_index(vocab);
        (softmax.exponentials * (row_weight / softmax.sums))
            .flatten::<1>(0, 1)
            .select_assign(0, index, weight.neg(), IndexingUpdateOp::Add)
            .reshape([rows, vocab])
    }
}

/// The weighted sum of the chunks' losses, and all of them.
fn sum(losses: Vec<Tensor<1>>, weight: &[f32], device: &Device) -> (Tensor<1>, Tensor<1>) {
    if weight.is_empty() {
        let none = TensorData::new(Vec::<f32>::new(), [0]);
        return (Tensor::zeros([1], device), Tensor::from_data(none, device));
    }
    let losses = Tensor::cat(losses, 0);
    let weight = TensorData::new(weight.to_vec(), [weight.len()]);
    let weight = Tensor::<1>::from_data(weight, device);
    ((losses.clone() * weight).sum(), losses)
}

/// Gives `value` a known gradient of `input`: adds `sum(input * gradient)` minus the term's own
/// value, so that only its gradient remains.
fn attach_gradient<const D: usize>(
    value: Tensor<1>,
    input: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<1> {
    let term = (input * gradient.autodiff()).sum();
    let constant = term.clone().detach();
    value.autodiff() + (term - constant)
}
