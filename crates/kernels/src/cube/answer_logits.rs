//! What rows of logits say of answers, on a GPU.

use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

use super::cast::in_type;
use super::launch::{UNITS, row_units, rows};
use super::matmul::{Block, product};
use super::reduce::cube_max;
use super::tensor::{CubeTensor, IntoBuffer, empty, sizes, upload};
use crate::answer_logits::{AnswerTable, BEATEN, GREATEST, NOT_FINITE};

/// A cube for each answer, which writes its verdict and behind all verdicts the logits of its
/// options, `starts[answer]` to `starts[answer + 1]`.
#[cube(launch)]
#[allow(
    clippy::too_many_arguments,
    reason = "a kernel takes scalars one by one"
)]
fn answers_kernel(
    logits: &[f32],
    answers: &[u32],
    starts: &[u32],
    options: &[u32],
    output: &mut [f32],
    count: usize,
    vocab: usize,
    #[comptime] units: usize,
) {
    if CUBE_POS >= count {
        terminate!();
    }
    let first = CUBE_POS * vocab;
    let answer = answers[CUBE_POS] as usize;
    let own = logits[first + answer];
    let mut verdict = f32::new(GREATEST);
    let mut column = UNIT_POS as usize;
    while column < vocab {
        let logit = logits[first + column];
        if logit > own || (logit == own && column < answer) {
            verdict = max(verdict, f32::new(BEATEN));
        }
        if logit.is_nan() || logit.is_inf() {
            verdict = f32::new(NOT_FINITE);
        }
        column += units;
    }
    let verdict = cube_max(verdict, units);
    if UNIT_POS == 0 {
        output[CUBE_POS] = verdict;
    }
    let mut option = starts[CUBE_POS] as usize + UNIT_POS as usize;
    let end = starts[CUBE_POS + 1] as usize;
    while option < end {
        output[count + option] = logits[first + options[option] as usize];
        option += units;
    }
}

/// The verdicts on the answers of a table, then the logits of their options.
/// `hidden` is `[answers, hidden]`.
pub(crate) fn answer_logits(
    hidden: CubeTensor,
    lm_head: CubeTensor,
    table: &AnswerTable,
) -> CubeTensor {
    let hidden = into_contiguous(hidden);
    let lm_head = in_type(&lm_head, hidden.dtype);
    let head = Block::of(&lm_head).transposed();
    let logits = product(&Block::of(&hidden), &head, DType::F32);
    let [count, vocab] = sizes(&logits);
    let found = empty(&logits, [count + table.options().len()]);
    answers_kernel::launch(
        &found.client,
        rows(count),
        row_units(),
        logits.into_buffer(),
        upload(&found, table.answers()).into_buffer(),
        upload(&found, table.starts()).into_buffer(),
        upload(&found, table.options()).into_buffer(),
        found.clone().into_buffer(),
        count,
        vocab,
        UNITS,
    );
    found
}
