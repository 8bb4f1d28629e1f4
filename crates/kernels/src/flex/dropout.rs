//! Matrices under a dropout mask.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::buffer::uninitialized;
use super::vector::vectorize;
use crate::dropout_mask::DropoutMask;

/// Elements that one task takes, about.
const CHUNK: usize = 1 << 15;

/// Runs `pass` on each row of `output`, with the row's number and its mask.
fn for_each_row<T: Send>(
    output: &mut [T],
    mask: &DropoutMask,
    pass: impl Fn(usize, &[f32], &mut [T]) + Sync,
) {
    let columns = output.len() / mask.tokens();
    let rows = (CHUNK / columns).max(1);
    let tasks = output.par_chunks_mut(rows * columns).enumerate();
    tasks.for_each(|(task, output)| {
        let mut row_mask = vec![0.0; columns];
        for (row, output) in output.chunks_mut(columns).enumerate() {
            let token = task * rows + row;
            vectorize(|| mask.write_row(token, &mut row_mask));
            vectorize(|| pass(token, &row_mask, output));
        }
    });
}

/// `x * mask`, of `[tokens, columns]`. There is a token and a column.
pub(super) fn masked(x: &[f32], mask: &DropoutMask) -> Vec<f32> {
    let columns = x.len() / mask.tokens();
    let mut output = uninitialized(x.len());
    let write = |token: usize, mask: &[f32], output: &mut [MaybeUninit<f32>]| {
        let x = &x[token * columns..][..columns];
        for (output, (x, m)) in output.iter_mut().zip(x.iter().zip(mask)) {
            output.write(x * m);
        }
    };
    for_each_row(&mut output, mask, write);
    // SAFETY: the output is as long as `x`, and each row of it was written.
    unsafe { output.assume_init() }.into_vec()
}

/// `sum += x * mask`, of `[tokens, columns]`. There is a token and a column.
pub(super) fn add_masked(sum: &mut [f32], x: &[f32], mask: &DropoutMask) {
    assert_eq!(sum.len(), x.len());
    let columns = x.len() / mask.tokens();
    for_each_row(sum, mask, |token, mask, sum| {
        let x = &x[token * columns..][..columns];
        for (sum, (x, m)) in sum.iter_mut().zip(x.iter().zip(mask)) {
            *sum += x * m;
        }
    });
}
