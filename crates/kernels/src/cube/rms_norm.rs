//! Root-mean-square normalization on a GPU.

use burn::backend::{Cube, TensorMetadata};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{elementwise, rows, units_for, vector_size};
use super::reduce::cube_sum;
use super::tensor::{CubeTensor, IntoBuffer, element, empty, empty_of, into_gradient, sizes};
use crate::operations::rms_norm::RmsNormPasses;

/// Rows that one cube adds up for the gradient of the weight.
const ROWS: usize = 16;

/// A cube for each row.
#[cube(launch)]
fn forward_kernel<F: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<f32, N>],
    output: &mut [Vector<F, N>],
    scales: &mut [f32],
    epsilon: f32,
    #[comptime] units: usize,
    #[define(F)] _element: ElemType,
) {
    let row = CUBE_POS;
    if row >= scales.len() {
        terminate!();
    }
    let vectors = weight.len();
    let first = row * vectors;
    let mut squares = Vector::<f32, N>::new(f32::new(0.0));
    let mut column = UNIT_POS as usize;
    while column < vectors {
        let value = Vector::<f32, N>::cast_from(x[first + column]);
        squares += value * value;
        column += units;
    }
    let width = f32::cast_from((vectors * N::value()) as u32);
    let mean = cube_sum(squares.vector_sum(), units) / width;
    let scale = 1.0 / (mean + epsilon).sqrt();
    if UNIT_POS == 0 {
        scales[row] = scale;
    }
    let mut column = UNIT_POS as usize;
    while column < vectors {
        let value = Vector::<f32, N>::cast_from(x[first + column]);
        let normalized = value * Vector::new(scale) * weight[column];
        output[first + column] = Vector::cast_from(normalized);
        column += units;
    }
}

/// The gradient of `x`, and the sum of `grad_output * x * scale` over the rows of each chunk,
/// `[chunks, width]`. A cube for each chunk, in which a unit has `columns` vectors of every row.
#[cube(launch)]
fn backward_kernel<F: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<f32, N>],
    scales: &[f32],
    grad_output: &[Vector<F, N>],
    grad_x: &mut [Vector<F, N>],
    sums: &mut [Vector<f32, N>],
    #[comptime] columns: usize,
    #[comptime] units: usize,
    #[define(F)] _element: ElemType,
) {
    let vectors = weight.len();
    let first_sum = CUBE_POS * vectors;
    if first_sum >= sums.len() {
        terminate!();
    }
    let width = f32::cast_from((vectors * N::value()) as u32);
    let mut chunk_sums = Array::<Vector<f32, N>>::new(columns);
    #[unroll]
    for n in 0..columns {
        chunk_sums[n] = Vector::new(f32::new(0.0));
    }
    let mut row = CUBE_POS * ROWS;
    let end = min(row + ROWS, scales.len());
    while row < end {
        let first = row * vectors;
        let mut products = Vector::<f32, N>::new(f32::new(0.0));
        #[unroll]
        for n in 0..columns {
            let column = UNIT_POS as usize + n * units;
            if column < vectors {
                let value = Vector::<f32, N>::cast_from(x[first + column]);
                let gradient = Vector::<f32, N>::cast_from(grad_output[first + column]);
                products += gradient * weight[column] * value;
            }
        }
        let mean = cube_sum(products.vector_sum(), units) / width;
        let scale = Vector::<f32, N>::new(scales[row]);
        let factor = Vector::<f32, N>::new(mean) * scale * scale;
        #[unroll]
        for n in 0..columns {
            let column = UNIT_POS as usize + n * units;
            if column < vectors {
                let value = Vector::<f32, N>::cast_from(x[first + column]);
                let gradient = Vector::<f32, N>::cast_from(grad_output[first + column]);
                let found = scale * (gradient * weight[column] - value * factor);
                grad_x[first + column] = Vector::cast_from(found);
                chunk_sums[n] += gradient * value * scale;
            }
        }
        row += 1;
    }
    #[unroll]
    for n in 0..columns {
        let column = UNIT_POS as usize + n * units;
        if column < vectors {
            sums[first_sum + column] = chunk_sums[n];
        }
    }
}

/// Adds up the rows of each chunk of a matrix in their order. A unit for each vector of the sums.
#[cube(launch)]
fn sum_rows_kernel<N: Size>(
    matrix: &[Vector<f32, N>],
    sums: &mut [Vector<f32, N>],
    vectors: usize,
) {
    if ABSOLUTE_POS >= sums.len() {
        terminate!();
    }
    let mut at = ABSOLUTE_POS / vectors * ROWS * vectors + ABSOLUTE_POS % vectors;
    let end = min(at + ROWS * vectors, matrix.len());
    let mut sum = Vector::<f32, N>::new(f32::new(0.0));
    while at < end {
        sum += matrix[at];
        at += vectors;
    }
    sums[ABSOLUTE_POS] = sum;
}

/// The sum of all rows of a matrix, chunk by chunk until one row is left.
fn sum_rows(mut matrix: CubeTensor, width: usize) -> CubeTensor {
    let client = matrix.client.clone();
    let vector = vector_size(width);
    let mut chunks = matrix.shape().num_elements() / width;
    while chunks > 1 {
        chunks = chunks.div_ceil(ROWS);
        let sums = empty(&matrix, [chunks * width]);
        let (cubes, units) = elementwise(&client, chunks * width / vector);
        sum_rows_kernel::launch(
            &client,
            cubes,
            units,
            vector,
            matrix.into_buffer(),
            sums.clone().into_buffer(),
            width / vector,
        );
        matrix = sums;
    }
    matrix
}

impl RmsNormPasses for Cube {
    /// Input and weight, contiguous, and each row's scale.
    type Saved = [CubeTensor; 3];

    fn forward(x: CubeTensor, weight: CubeTensor, epsilon: f64) -> (CubeTensor, [CubeTensor; 3]) {
        let (x, weight) = (into_contiguous(x), into_contiguous(weight));
        let [tokens, width] = sizes(&x);
        let vector = vector_size(width);
        let units = units_for(width / vector);
        let output = empty_of(&x, [tokens, width], x.dtype);
        let scales = empty(&x, [tokens]);
        forward_kernel::launch(
            &x.client,
            rows(tokens),
            CubeDim::new_1d(units as u32),
            vector,
            x.clone().into_buffer(),
            weight.clone().into_buffer(),
            output.clone().into_buffer(),
            scales.clone().into_buffer(),
            epsilon as f32,
            units,
            element(&x),
        );
        (output, [x, weight, scales])
    }

    fn backward([x, weight, scales]: [CubeTensor; 3], grad_output: CubeTensor) -> [CubeTensor; 2] {
        let grad_output = into_gradient(grad_output, &x);
        let [tokens, width] = sizes(&x);
        let vector = vector_size(width);
        let units = units_for(width / vector);
        let chunks = tokens.div_ceil(ROWS).max(1);
        let grad_x = empty_of(&x, [tokens, width], x.dtype);
        let sums = empty(&x, [chunks * width]);
        backward_kernel::launch(
            &grad_x.client,
            rows(chunks),
            CubeDim::new_1d(units as u32),
            vector,
            x.clone().into_buffer(),
            weight.into_buffer(),
            scales.into_buffer(),
            grad_output.into_buffer(),
            grad_x.clone().into_buffer(),
            sums.clone().into_buffer(),
            (width / vector).div_ceil(units),
            units,
            element(&x),
        );
        [grad_x, sum_rows(sums, width)]
    }
}
