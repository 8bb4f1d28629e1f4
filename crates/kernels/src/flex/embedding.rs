//! Rows of a table on slices.

use rayon::prelude::*;

use super::buffer::buffer;

/// Rows that one task copies.
const ROWS: usize = 64;

/// The rows `token_ids` of a table with rows of `hidden` numbers.
pub(crate) fn rows(table: &[f32], hidden: usize, token_ids: &[u32]) -> Vec<f32> {
    let mut found = buffer(token_ids.len() * hidden);
    found
        .par_chunks_mut(ROWS * hidden)
        .zip(token_ids.par_chunks(ROWS))
        .for_each(|(found, token_ids)| {
            for (row, &token) in found.chunks_exact_mut(hidden).zip(token_ids) {
                row.copy_from_slice(&table[token as usize * hidden..][..hidden]);
            }
        });
    found
}

/// Adds a gradient's rows to those of the table, token by token in order; `padding`'s are left out.
pub(crate) fn add_rows(
    table: &mut [f32],
    hidden: usize,
    token_ids: &[u32],
    padding: Option<u32>,
    upper: &[f32],
) {
    let rows = token_ids.iter().zip(upper.chunks_exact(hidden));
    for (&token, upper) in rows.filter(|(token, _)| Some(**token) != padding) {
        let row = &mut table[token as usize * hidden..][..hidden];
        row.iter_mut().zip(upper).for_each(|(sum, x)| *sum += x);
    }
}
