//! Root-mean-square normalization on a GPU.

use burn::backend::{Cube, TensorMetadata};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

use super::launch::{UNITS, elementwise, row_units, rows};
use super::reduce::cube_sum;
use super::tensor::{CubeTensor, empty, sizes};
use crate::operations::rms_norm::RmsNormPasses;

/// Rows that one cube adds up for the gradient of the weight.
const ROWS: usize = 64;

/// A cube for each row.
#[cube(launch)]
fn forward_kernel(
    x: &[f32],
    weight: &[f32],
    output: &mut [f32],
    scales: &mut [f32],
    epsilon: f32,
    #[comptime] units: usize,
) {
    let row = CUBE_POS;
    if row >= scales.len() {
        terminate!();
    }
    let width = weight.len();
    let first = row * width;
    let mut squares = f32::new(0.0);
    let mut column = UNIT_POS as usize;
    while column < width {
        let value = x[first + column];
        squares += value * value;
        column += units;
    }
    let mean = cube_sum(squares, units) / f32::cast_from(width as u32);
    let scale = 1.0 / (mean + epsilon).sqrt();
    if UNIT_POS == 0 {
        scales[row] = scale;
    }
    let mut column = UNIT_POS as usize;
    while column < width {
        output[first + column] = x[first + column] * scale * weight[column];
        column += units;
    }
}

/// The gradient of `x`, a cube for each row.
#[cube(launch)]
fn grad_x_kernel(
    x: &[f32],
    weight: &[f32],
    scales: &[f32],
    grad_output: &[f32],
    grad_x: &mut [f32],
    #[comptime] units: usize,
) {
    let row = CUBE_POS;
    if row >= scales.len() {
        terminate!();
    }
    let width = weight.len();
    let first = row * width;
    let mut products = f32::new(0.0);
    let mut column = UNIT_POS as usize;
    while column < width {
        products += grad_output[first + column] * weight[column] * x[first + column];
        column += units;
    }
    let mean = cube_sum(products, units) / f32::cast_from(width as u32);
    let scale = scales[row];
    let factor = mean * scale * scale;
    let mut column = UNIT_POS as usize;
    while column < width {
        let at = first + column;
        grad_x[at] = scale * (grad_output[at] * weight[column] - x[at] * factor);
        column += units;
    }
}

/// The sum of `grad_output * x * scale` over the rows of each chunk, `[chunks, width]`. A unit for
/// each of these sums.
#[cube(launch)]
fn grad_weight_kernel(
    x: &[f32],
    scales: &[f32],
    grad_output: &[f32],
    sums: &mut [f32],
    width: usize,
    #[comptime] chunk: usize,
) {
    if ABSOLUTE_POS >= sums.len() {
        terminate!();
    }
    let column = ABSOLUTE_POS % width;
    let mut row = ABSOLUTE_POS / width * chunk;
    let end = min(row + chunk, scales.len());
    let mut sum = f32::new(0.0);
    while row < end {
        let at = row * width + column;
        sum += grad_output[at] * x[at] * scales[row];
        row += 1;
    }
    sums[ABSOLUTE_POS] = sum;
}

/// Adds up the rows of a matrix in their order. A unit for each column.
#[cube(launch)]
fn column_sums_kernel(matrix: &[f32], sums: &mut [f32]) {
    if ABSOLUTE_POS >= sums.len() {
        terminate!();
    }
    let mut at = ABSOLUTE_POS;
    let mut sum = f32::new(0.0);
    while at < matrix.len() {
        sum += matrix[at];
        at += sums.len();
    }
    sums[ABSOLUTE_POS] = sum;
}

impl RmsNormPasses for Cube {
    /// Input and weight, contiguous, and each row's scale.
    type Saved = [CubeTensor; 3];

    fn forward(x: CubeTensor, weight: CubeTensor, epsilon: f64) -> (CubeTensor, [CubeTensor; 3]) {
        let (x, weight) = (into_contiguous(x), into_contiguous(weight));
        let [tokens, width] = sizes(&x);
        let (output, scales) = (empty(&x, [tokens, width]), empty(&x, [tokens]));
        forward_kernel::launch(
            &x.client,
            rows(tokens),
            row_units(),
            x.clone().into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            output.clone().into_buffer_arg(),
            scales.clone().into_buffer_arg(),
            epsilon as f32,
            UNITS,
        );
        (output, [x, weight, scales])
    }

    fn backward([x, weight, scales]: [CubeTensor; 3], grad_output: CubeTensor) -> [CubeTensor; 2] {
        let grad_output = into_contiguous(grad_output);
        let [tokens, width] = sizes(&x);
        let client = x.client.clone();
        let grad_x = empty(&x, [tokens, width]);
        grad_x_kernel::launch(
            &client,
            rows(tokens),
            row_units(),
            x.clone().into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            scales.clone().into_buffer_arg(),
            grad_output.clone().into_buffer_arg(),
            grad_x.clone().into_buffer_arg(),
            UNITS,
        );
        let chunks = tokens.div_ceil(ROWS);
        let sums = empty(&x, [chunks, width]);
        let (cubes, units) = elementwise(&client, chunks * width);
        grad_weight_kernel::launch(
            &client,
            cubes,
            units,
            x.into_buffer_arg(),
            scales.into_buffer_arg(),
            grad_output.into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            width,
            ROWS,
        );
        let grad_weight = empty(&grad_x, weight.shape());
        let (cubes, units) = elementwise(&client, width);
        column_sums_kernel::launch(
            &client,
            cubes,
            units,
            sums.into_buffer_arg(),
            grad_weight.clone().into_buffer_arg(),
        );
        [grad_x, grad_weight]
    }
}
