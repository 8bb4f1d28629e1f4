//! Weighted cross-entropy through a language-model head on a GPU: chunks of rows, whose gradients
//! are computed with the loss.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Cube, TensorMetadata};
use burn::tensor::Slice;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

use super::launch::{UNITS, row_units, rows};
use super::matmul::{product, transposed};
use super::reduce::{cube_max, cube_sum};
use super::tensor::{CubeTensor, empty, sizes, upload, zeros};
use crate::operations::linear_cross_entropy::{
    CrossEntropyPasses, LossAndGradients, Targets, Wanted,
};

/// A cube for each row of a chunk: the losses of its targets, `starts[row]` to `starts[row + 1]`
/// counted from the chunk's first, and where gradients are wanted that of the logits in their
/// place: `softmax(z) * (the row's summed weight) - weight at each target's token`.
#[cube(launch)]
#[allow(
    clippy::too_many_arguments,
    reason = "a kernel takes scalars one by one"
)]
fn row_losses_kernel(
    logits: &mut [f32],
    starts: &[u32],
    tokens: &[u32],
    weights: &[f32],
    losses: &mut [f32],
    first_row: usize,
    count: usize,
    vocab: usize,
    wants_gradients: u32,
    #[comptime] units: usize,
) {
    if CUBE_POS >= count {
        terminate!();
    }
    let first = CUBE_POS * vocab;
    let start = starts[first_row + CUBE_POS] as usize;
    let end = starts[first_row + CUBE_POS + 1] as usize;
    let unit = UNIT_POS as usize;

    let mut highest = f32::new(-3.0e38);
    let mut column = unit;
    while column < vocab {
        highest = max(highest, logits[first + column]);
        column += units;
    }
    let highest = cube_max(highest, units);
    let mut sum = f32::new(0.0);
    let mut column = unit;
    while column < vocab {
        sum += (logits[first + column] - highest).exp();
        column += units;
    }
    let sum = cube_sum(sum, units);
    let log_sum_exp = highest + sum.ln();

    let mut weight = f32::new(0.0);
    let mut target = start;
    while target < end {
        weight += weights[target];
        target += 1;
    }
    if UNIT_POS == 0 {
        let mut target = start;
        while target < end {
            losses[target] = log_sum_exp - logits[first + tokens[target] as usize];
            target += 1;
        }
    }
    sync_cube();
    if wants_gradients != 0 {
        let factor = weight / sum;
        let mut column = unit;
        while column < vocab {
            let at = first + column;
            logits[at] = (logits[at] - highest).exp() * factor;
            column += units;
        }
        sync_cube();
        if UNIT_POS == 0 {
            let mut target = start;
            while target < end {
                let at = first + tokens[target] as usize;
                logits[at] -= weights[target];
                target += 1;
            }
        }
    }
}

/// The weighted sum of the losses, by one cube.
#[cube(launch)]
fn weighted_sum_kernel(
    losses: &[f32],
    weights: &[f32],
    loss: &mut [f32],
    #[comptime] units: usize,
) {
    let mut sum = f32::new(0.0);
    let mut target = UNIT_POS as usize;
    while target < losses.len() {
        sum += losses[target] * weights[target];
        target += units;
    }
    let sum = cube_sum(sum, units);
    if UNIT_POS == 0 {
        loss[0] = sum;
    }
}

/// The rows of a matrix from `first`, without a copy.
fn row_range(matrix: &CubeTensor, first: usize, count: usize) -> CubeTensor {
    Cube::float_slice(
        matrix.clone(),
        &[Slice::from(first..first + count), Slice::full()],
    )
}

/// Where the targets of each row begin: those of row r are `starts[r]` to `starts[r + 1]`.
fn starts(targets: &Targets, rows: usize) -> Vec<u32> {
    let row = targets.table().row;
    (0..=rows)
        .map(|r| row.partition_point(|&target| (target as usize) < r) as u32)
        .collect()
}

impl CrossEntropyPasses for Cube {
    fn loss_and_gradients(
        hidden: CubeTensor,
        lm_head: CubeTensor,
        targets: &Targets,
        wanted: Wanted,
    ) -> LossAndGradients<CubeTensor> {
        let (hidden, lm_head) = (into_contiguous(hidden), into_contiguous(lm_head));
        let ([row_count, hidden_size], [vocab, _]) = (sizes(&hidden), sizes(&lm_head));
        let client = hidden.client.clone();
        let table = targets.table();
        let count = table.token.len();
        if count == 0 || row_count == 0 {
            return LossAndGradients {
                loss: zeros(&hidden, [1]),
                target_losses: empty(&hidden, [count]),
                gradients: [
                    wanted
                        .hidden
                        .then(|| zeros(&hidden, [row_count, hidden_size])),
                    wanted.lm_head.then(|| zeros(&hidden, [vocab, hidden_size])),
                ],
            };
        }
        let starts = upload(&hidden, &starts(targets, row_count));
        let tokens = upload(&hidden, table.token);
        let weights = upload(&hidden, table.weight);
        let losses = empty(&hidden, [count]);
        let mut grad_hidden = Vec::new();
        let mut grad_lm_head: Option<CubeTensor> = None;
        let chunk = targets.chunk.clamp(1, row_count);
        for first in (0..row_count).step_by(chunk) {
            let count = chunk.min(row_count - first);
            let part = into_contiguous(row_range(&hidden, first, count));
            let logits = product(part.clone(), transposed(&lm_head));
            row_losses_kernel::launch(
                &client,
                rows(count),
                row_units(),
                logits.clone().into_buffer_arg(),
                starts.clone().into_buffer_arg(),
                tokens.clone().into_buffer_arg(),
                weights.clone().into_buffer_arg(),
                losses.clone().into_buffer_arg(),
                first,
                count,
                vocab,
                u32::from(wanted.hidden || wanted.lm_head),
                UNITS,
            );
            if wanted.lm_head {
                let part = product(transposed(&logits), part);
                grad_lm_head = Some(match grad_lm_head {
                    Some(sum) => Cube::float_add(sum, part),
                    None => part,
                });
            }
            if wanted.hidden {
                grad_hidden.push(product(logits, lm_head.clone()));
            }
        }
        let loss = empty(&hidden, [1]);
        weighted_sum_kernel::launch(
            &client,
            rows(1),
            row_units(),
            losses.clone().into_buffer_arg(),
            weights.into_buffer_arg(),
            loss.clone().into_buffer_arg(),
            UNITS,
        );
        LossAndGradients {
            loss,
            target_losses: losses,
            gradients: [
                wanted.hidden.then(|| Cube::float_cat(grad_hidden, 0)),
                grad_lm_head,
            ],
        }
    }

    fn scaled(gradient: CubeTensor, grad_loss: CubeTensor) -> CubeTensor {
        let rank = gradient.shape().num_dims();
        let shape = burn::tensor::Shape::from(vec![1; rank]);
        Cube::float_mul(gradient, Cube::float_reshape(grad_loss, shape))
    }
}
