//! Looking up rows of an embedding table on a GPU.

use burn::backend::Cube;
use burn::tensor::Shape;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

use super::launch::{UNITS, elementwise, row_units, rows};
use super::tensor::{CubeTensor, empty, sizes, upload, zeros};
use crate::operations::embedding::EmbeddingPasses;

#[cube(launch)]
fn forward_kernel(table: &[f32], token_ids: &[u32], output: &mut [f32], hidden: usize) {
    if ABSOLUTE_POS < output.len() {
        let token = token_ids[ABSOLUTE_POS / hidden] as usize;
        output[ABSOLUTE_POS] = table[token * hidden + ABSOLUTE_POS % hidden];
    }
}

/// A cube for each token of the batch's vocabulary, which adds the gradients of its positions in
/// their order.
#[cube(launch)]
fn backward_kernel(
    tokens: &[u32],
    starts: &[u32],
    positions: &[u32],
    grad_output: &[f32],
    grad_table: &mut [f32],
    hidden: usize,
    #[comptime] units: usize,
) {
    if CUBE_POS >= tokens.len() {
        terminate!();
    }
    let first = tokens[CUBE_POS] as usize * hidden;
    let start = starts[CUBE_POS] as usize;
    let end = starts[CUBE_POS + 1] as usize;
    let mut column = UNIT_POS as usize;
    while column < hidden {
        let mut sum = f32::new(0.0);
        let mut index = start;
        while index < end {
            sum += grad_output[positions[index] as usize * hidden + column];
            index += 1;
        }
        grad_table[first + column] = sum;
        column += units;
    }
}

/// The different tokens of a batch, and where each stands.
struct Positions {
    /// Ascending.
    tokens: Vec<u32>,
    /// The positions of token t are those from `starts[t]` to `starts[t + 1]`.
    starts: Vec<u32>,
    positions: Vec<u32>,
}

impl Positions {
    fn new(token_ids: &[u32], padding: Option<u32>) -> Self {
        let mut positions: Vec<u32> = (0..token_ids.len() as u32)
            .filter(|&position| Some(token_ids[position as usize]) != padding)
            .collect();
        // A stable sort keeps the positions of a token ascending.
        positions.sort_by_key(|&position| token_ids[position as usize]);
        let (mut tokens, mut starts) = (Vec::new(), Vec::new());
        for (index, &position) in positions.iter().enumerate() {
            let token = token_ids[position as usize];
            if tokens.last() != Some(&token) {
                tokens.push(token);
                starts.push(index as u32);
            }
        }
        starts.push(positions.len() as u32);
        Self {
            tokens,
            starts,
            positions,
        }
    }
}

impl EmbeddingPasses for Cube {
    fn forward(table: CubeTensor, token_ids: &[u32]) -> CubeTensor {
        let table = into_contiguous(table);
        let [_, hidden] = sizes(&table);
        let output = empty(&table, [token_ids.len(), hidden]);
        if token_ids.is_empty() {
            return output;
        }
        let (cubes, units) = elementwise(&table.client, token_ids.len() * hidden);
        forward_kernel::launch(
            &output.client,
            cubes,
            units,
            table.clone().into_buffer_arg(),
            upload(&table, token_ids).into_buffer_arg(),
            output.clone().into_buffer_arg(),
            hidden,
        );
        output
    }

    fn backward(
        shape: Shape,
        token_ids: &[u32],
        padding: Option<u32>,
        grad_output: CubeTensor,
    ) -> CubeTensor {
        let grad_output = into_contiguous(grad_output);
        let hidden = shape[1];
        let grad_table = zeros(&grad_output, shape);
        let Positions {
            tokens,
            starts,
            positions,
        } = Positions::new(token_ids, padding);
        if tokens.is_empty() {
            return grad_table;
        }
        let [ids, starts, positions] =
            [&tokens, &starts, &positions].map(|elements| upload(&grad_output, elements));
        backward_kernel::launch(
            &grad_table.client,
            rows(tokens.len()),
            row_units(),
            ids.into_buffer_arg(),
            starts.into_buffer_arg(),
            positions.into_buffer_arg(),
            grad_output.into_buffer_arg(),
            grad_table.clone().into_buffer_arg(),
            hidden,
            UNITS,
        );
        grad_table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_grouped_by_token_without_those_of_padding() {
        let found = Positions::new(&[5, 2, 5, 9, 2, 5], Some(9));
        assert_eq!(found.tokens, [2, 5]);
        assert_eq!(found.starts, [0, 2, 5]);
        assert_eq!(found.positions, [1, 4, 0, 2, 5]);
        let none = Positions::new(&[9, 9], Some(9));
        assert_eq!((none.tokens.len(), none.starts), (0, vec![0]));
    }
}
