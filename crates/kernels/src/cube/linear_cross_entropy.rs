//! Weighted cross-entropy through a language-model head on a GPU: chunks of rows, whose gradients
//! are computed with the loss.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::cast::in_type;
use super::launch::{UNITS, elementwise, row_units, rows};
use super::matmul::{Addend, Block, multiply, product};
use super::reduce::cube_sum;
use super::row_losses::{DeviceTargets, chunk_losses};
use super::tensor::{CubeTensor, IntoBuffer, element, empty, empty_of, sizes, upload, zeros};
use crate::operations::linear_cross_entropy::{
    CrossEntropyPasses, LossAndGradients, Targets, Wanted,
};

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

/// A unit for each element.
#[cube(launch)]
fn scale_kernel<F: Float>(
    values: &[F],
    factor: &[f32],
    output: &mut [F],
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS < output.len() {
        output[ABSOLUTE_POS] = F::cast_from(f32::cast_from(values[ABSOLUTE_POS]) * factor[0]);
    }
}

/// [`DeviceTargets::starts`] of so many rows.
fn starts(targets: &Targets, rows: usize) -> Vec<u32> {
    let row = targets.table().row;
    let mut target = 0;
    let mut start = |r: usize| {
        while row.get(target).is_some_and(|&row| (row as usize) < r) {
            target += 1;
        }
        target as u32
    };
    (0..=rows).map(&mut start).collect()
}

fn without_targets(
    hidden: &CubeTensor,
    lm_head: &CubeTensor,
    wanted: Wanted,
) -> LossAndGradients<CubeTensor> {
    LossAndGradients {
        loss: zeros(hidden, [1]),
        target_losses: empty(hidden, [0]),
        gradients: [
            wanted.hidden.then(|| {
                let gradient = zeros(hidden, sizes(hidden));
                in_type(&gradient, hidden.dtype)
            }),
            wanted.lm_head.then(|| zeros(hidden, sizes(lm_head))),
        ],
    }
}

/// Rows of each chunk but the last, at most `most`: about as many as of the last. A last chunk of
/// any size would ask for products of a new size in most steps, for which cuBLASLt looks for an
/// algorithm and loads a kernel, both of which take milliseconds.
fn chunk_rows(rows: usize, most: usize) -> usize {
    // Chunks begin where wide loads may.
    const STEP: usize = 8;
    let chunks = rows.div_ceil(most);
    rows.div_ceil(chunks).next_multiple_of(STEP).min(most)
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
            return without_targets(&hidden, &lm_head, wanted);
        }
        let dtype = hidden.dtype;
        let lm_head = in_type(&lm_head, dtype);
        let on_device = DeviceTargets {
            starts: upload(&hidden, &starts(targets, row_count)),
            tokens: upload(&hidden, table.token),
            weights: upload(&hidden, table.weight),
        };
        let losses = empty(&hidden, [count]);
        let grad_hidden = wanted
            .hidden
            .then(|| empty_of(&hidden, [row_count, hidden_size], dtype));
        let grad_lm_head = wanted.lm_head.then(|| empty(&hidden, [vocab, hidden_size]));
        let chunk = chunk_rows(row_count, targets.chunk.max(1));
        for first in (0..row_count).step_by(chunk) {
            let rows = first..row_count.min(first + chunk);
            let part = Block::of(&hidden).rows(rows.clone());
            let logits = product(&part, &Block::of(&lm_head).transposed(), DType::F32);
            let grad_logits = (wanted.hidden || wanted.lm_head)
                .then(|| empty_of(&hidden, [rows.len(), vocab], dtype));
            chunk_losses(logits, &on_device, &losses, first, grad_logits.as_ref());
            let Some(grad_logits) = grad_logits else {
                continue;
            };
            let grad_logits = Block::of(&grad_logits);
            if let Some(sum) = &grad_lm_head {
                let addend = match first {
                    0 => Addend::Nothing,
                    _ => Addend::Output,
                };
                let operands = [&grad_logits.clone().transposed(), &part];
                multiply(&Block::of(sum), operands, 1.0, &addend);
            }
            if let Some(gradient) = &grad_hidden {
                let output = Block::of(gradient).rows(rows);
                let operands = [&grad_logits, &Block::of(&lm_head)];
                multiply(&output, operands, 1.0, &Addend::Nothing);
            }
        }
        let loss = empty(&hidden, [1]);
        weighted_sum_kernel::launch(
            &client,
            rows(1),
            row_units(),
            losses.clone().into_buffer(),
            on_device.weights.into_buffer(),
            loss.clone().into_buffer(),
            UNITS,
        );
        LossAndGradients {
            loss,
            target_losses: losses,
            gradients: [grad_hidden, grad_lm_head],
        }
    }

    fn scaled(gradient: CubeTensor, grad_loss: CubeTensor) -> CubeTensor {
        let gradient = into_contiguous(gradient);
        let scaled = empty_of(&gradient, gradient.shape(), gradient.dtype);
        let (cubes, units) = elementwise(&scaled.client, scaled.shape().num_elements());
        scale_kernel::launch(
            &scaled.client,
            cubes,
            units,
            gradient.into_buffer(),
            grad_loss.into_buffer(),
            scaled.clone().into_buffer(),
            element(&scaled),
        );
        scaled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_of_about_one_size() {
        for (rows, most, expected) in [
            (1, 2048, 8),
            (2048, 2048, 2048),
            (2049, 2048, 1032),
            (12_000, 2048, 2000),
            (33_000, 2048, 1944),
            (10, 3, 3),
        ] {
            let chunk = chunk_rows(rows, most);
            assert_eq!(chunk, expected, "{rows} rows in chunks of at most {most}");
            assert!(chunk <= most && chunk * rows.div_ceil(most) >= rows);
        }
    }
}
