//! Looking up rows of an embedding table on a GPU.

use burn::backend::Cube;
use burn::tensor::Shape;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{FEWEST_UNITS, UNITS, elementwise, rows, vector_size};
use super::tensor::{CubeTensor, IntoBuffer, element, empty_of, sizes, upload, zeros_of};
use crate::operations::embedding::EmbeddingPasses;

/// A unit for each of the output's vectors, of which a row has `hidden`.
#[cube(launch)]
fn forward_kernel<F: Float, N: Size>(
    table: &[Vector<F, N>],
    token_ids: &[u32],
    output: &mut [Vector<F, N>],
    hidden: usize,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS < output.len() {
        let token = token_ids[ABSOLUTE_POS / hidden] as usize;
        output[ABSOLUTE_POS] = table[token * hidden + ABSOLUTE_POS % hidden];
    }
}

/// Gradients that a unit may read ahead of their sum. A token of a large batch has a thousand
/// positions, and would wait for the memory as often.
const READ_AHEAD: usize = 16;

/// A cube for each token of the batch's vocabulary, which adds the gradients of its positions in
/// their order. A row has `hidden` vectors.
#[cube(launch)]
fn backward_kernel<F: Float, N: Size>(
    tokens: &[u32],
    starts: &[u32],
    positions: &[u32],
    grad_output: &[Vector<F, N>],
    grad_table: &mut [Vector<F, N>],
    hidden: usize,
    #[comptime] units: usize,
    #[define(F)] _element: ElemType,
) {
    if CUBE_POS >= tokens.len() {
        terminate!();
    }
    let first = tokens[CUBE_POS] as usize * hidden;
    let start = starts[CUBE_POS] as usize;
    let end = starts[CUBE_POS + 1] as usize;
    let mut column = UNIT_POS as usize;
    while column < hidden {
        let mut sum = Vector::<f32, N>::new(f32::new(0.0));
        let mut index = start;
        while index < end {
            let mut gradients = Array::<Vector<f32, N>>::new(READ_AHEAD);
            #[unroll]
            for n in 0..READ_AHEAD {
                gradients[n] = Vector::new(f32::new(0.0));
                if index + n < end {
                    let row = positions[index + n] as usize;
                    gradients[n] = Vector::cast_from(grad_output[row * hidden + column]);
                }
            }
            #[unroll]
            for n in 0..READ_AHEAD {
                sum += gradients[n];
            }
            index += READ_AHEAD;
        }
        grad_table[first + column] = Vector::cast_from(sum);
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
        let output = empty_of(&table, [token_ids.len(), hidden], table.dtype);
        if token_ids.is_empty() {
            return output;
        }
        let vector = vector_size(hidden);
        let (cubes, units) = elementwise(&table.client, token_ids.len() * hidden / vector);
        forward_kernel::launch(
            &output.client,
            cubes,
            units,
            vector,
            table.clone().into_buffer(),
            upload(&table, token_ids).into_buffer(),
            output.clone().into_buffer(),
            hidden / vector,
            element(&output),
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
        let grad_table = zeros_of(&grad_output, shape, grad_output.dtype);
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
        let vector = vector_size(hidden);
        let units = (hidden / vector).next_power_of_two();
        let units = units.clamp(FEWEST_UNITS, UNITS);
        backward_kernel::launch(
            &grad_table.client,
            rows(tokens.len()),
            CubeDim::new_1d(units as u32),
            vector,
            ids.into_buffer(),
            starts.into_buffer(),
            positions.into_buffer(),
            grad_output.into_buffer(),
            grad_table.clone().into_buffer(),
            hidden / vector,
            units,
            element(&grad_table),
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
