//! Weights in NF4 on a GPU, as matrices for products.

use std::ops::Range;

use burn::tensor::{DType, Int, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{elementwise, vector_size};
use super::tensor::{CubeTensor, IntoBuffer, element, empty_of, into_cube, into_cube_int, sizes};
use crate::nf4::{BLOCK, CODES_OF_WORD, GROUP, NF4, SCALE_CODES_OF_WORD};
use crate::nf4_weight::Nf4Weight;

/// A unit for each of `count` vectors, `width` of them in a row. The weight has `weight_width` in a
/// row, and the first is at `first_column`. A vector lies within a word of codes.
#[cube(launch)]
fn dequantize_kernel<F: Float, N: Size>(
    codes: &[u32],
    scale_codes: &[u32],
    group_scales: &[f32],
    code_books: &[f32],
    output: &mut [Vector<F, N>],
    offset: usize,
    count: usize,
    width: usize,
    weight_width: usize,
    first_column: usize,
    mean_scale: f32,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS < count {
        let mut elements = Vector::<f32, N>::zeroed();
        let size = elements.vector_size();
        let row = ABSOLUTE_POS / width;
        let column = ABSOLUTE_POS % width + first_column;
        let first = (row * weight_width + column) * size;
        let block = first / BLOCK;
        let scale_shift = 8 * (block % SCALE_CODES_OF_WORD) as u32;
        let scale_code = (scale_codes[block / SCALE_CODES_OF_WORD] >> scale_shift) & 0xFF;
        let scale_value = code_books[NF4.len() + scale_code as usize];
        let scale = scale_value * group_scales[block / GROUP] + mean_scale;
        let word = codes[first / CODES_OF_WORD];
        let place = (first % CODES_OF_WORD) as u32;
        #[unroll]
        for lane in 0..size {
            let code = (word >> (4 * (place + lane as u32))) & 0xF;
            elements.insert(lane, code_books[code as usize] * scale);
        }
        output[offset + ABSOLUTE_POS] = Vector::cast_from(elements);
    }
}

/// Writes these columns of a weight to the rows of a matrix from `first_row` on, in the matrix's
/// type.
pub(super) fn dequantize_columns(
    weight: &Nf4Weight,
    columns: Range<usize>,
    output: &CubeTensor,
    first_row: usize,
) {
    let [rows, weight_width] = weight.shape();
    let width = columns.len();
    debug_assert_eq!(sizes(output)[1], width);
    // A power of two divides all of them where it divides their bits together.
    let vector = vector_size(weight_width | columns.start | width);
    let count = rows * width / vector;
    let words = |words: &Tensor<1, Int>| into_contiguous(into_cube_int(words.clone()));
    let floats = |values: &Tensor<1>| into_contiguous(into_cube(values.clone()));
    let (cubes, units) = elementwise(&output.client, count);
    dequantize_kernel::launch(
        &output.client,
        cubes,
        units,
        vector,
        words(&weight.tensors.codes).into_buffer(),
        words(&weight.tensors.scale_codes).into_buffer(),
        floats(&weight.tensors.group_scales).into_buffer(),
        floats(&weight.tensors.code_books).into_buffer(),
        output.clone().into_buffer(),
        first_row * width / vector,
        count,
        width / vector,
        weight_width / vector,
        columns.start / vector,
        weight.tensors.mean_scale,
        element(output),
    );
}

/// The weight `[out, in]` in this type.
pub(crate) fn dequantize(weight: &Nf4Weight, dtype: DType) -> CubeTensor {
    let like = into_cube(weight.tensors.group_scales.clone());
    let output = empty_of(&like, weight.shape(), dtype);
    dequantize_columns(weight, 0..weight.shape()[1], &output, 0);
    output
}
