//! Looking up rows of an embedding table on slices.

use rayon::prelude::*;

use super::buffer::uninitialized;

/// Rows that one task copies.
const ROWS: usize = 64;

/// The rows `token_ids` of a table with rows of `hidden` elements.
pub(crate) fn forward(table: &[f32], hidden: usize, token_ids: &[u32]) -> Vec<f32> {
    let mut output = uninitialized(token_ids.len() * hidden);
    output
        .par_chunks_mut(ROWS * hidden)
        .zip(token_ids.par_chunks(ROWS))
        .for_each(|(output, token_ids)| {
            for (row, &token) in output.chunks_exact_mut(hidden).zip(token_ids) {
                row.write_copy_of_slice(&table[token as usize * hidden..][..hidden]);
            }
        });
    // SAFETY: the output has a row of `hidden` elements for each token, and each was copied.
    unsafe { output.assume_init() }.into_vec()
}

/// Adds the gradients of looked-up rows to the table's, token by token in order. The rows of
/// `padding` are left out.
pub(crate) fn backward(
    grad_table: &mut [f32],
    hidden: usize,
    token_ids: &[u32],
    padding: Option<u32>,
    grad_output: &[f32],
) {
    let rows = token_ids.iter().zip(grad_output.chunks_exact(hidden));
    for (&token, grad_output) in rows.filter(|(token, _)| Some(**token) != padding) {
        let row = &mut grad_table[token as usize * hidden..][..hidden];
        row.iter_mut()
            .zip(grad_output)
            .for_each(|(sum, x)| *sum += x);
    }
}
