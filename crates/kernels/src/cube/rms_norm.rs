//! Root-mean-square normalization on a GPU.

use burn::backend::{Cube, TensorMetadata};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{FEWEST_UNITS, UNITS, row_units, rows, vector_size};
use super::reduce::row_sum;
use super::tensor::{CubeTensor, IntoBuffer, element, empty, empty_of, into_gradient, sizes};
use crate::operations::rms_norm::RmsNormPasses;

/// Most rows that one cube adds up for the gradient of the weight.
const MOST_ROWS: usize = 64;

/// Cubes that keep a large GPU busy: several for each that it runs at a time, so that the last ones
/// hold up few of its multiprocessors.
const CUBES: usize = 1024;

/// Vectors of a cube that adds up rows of partial sums.
const COLUMNS: usize = 8;

/// Units of it that share the rows of a vector.
const LANES: usize = UNITS / COLUMNS;

/// How a cube works on rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Layout {
    /// Units of a row.
    units: usize,
    /// Rows at a time.
    rows: usize,
}

impl Layout {
    /// A few vectors for each unit, so that the sums of short rows have few steps, and enough rows
    /// for a cube that keeps a multiprocessor busy.
    fn for_row_of(vectors: usize) -> Self {
        let units = (vectors / 8).next_power_of_two().clamp(FEWEST_UNITS, UNITS);
        Self {
            units,
            rows: UNITS / units,
        }
    }

    /// Rows of a cube in the backward pass: as few as it has at a time, unless it adds them up.
    fn chunk(self, tokens: usize, adds_up: bool) -> usize {
        match adds_up {
            true => (tokens / CUBES).clamp(1, MOST_ROWS),
            false => 1,
        }
        .next_multiple_of(self.rows)
    }
}

/// The sum of the elements of a row, of which every unit has a vector, for every unit of it.
#[cube]
fn sum_of_row<N: Size>(sums: Vector<f32, N>, #[comptime] layout: Layout) -> f32 {
    row_sum(
        sums.vector_sum(),
        comptime!(layout.units),
        comptime!(layout.rows),
    )
}

/// A cube for each `layout.rows` rows.
#[cube(launch)]
fn forward_kernel<F: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<f32, N>],
    output: &mut [Vector<F, N>],
    epsilon: f32,
    #[comptime] layout: Layout,
    #[define(F)] _element: ElemType,
) {
    let units = comptime!(layout.units);
    let lane = UNIT_POS as usize % units;
    let row = CUBE_POS * comptime!(layout.rows) + UNIT_POS as usize / units;
    let vectors = weight.len();
    let first = row * vectors;
    let exists = first < x.len();
    let mut squares = Vector::<f32, N>::new(f32::new(0.0));
    if exists {
        let mut column = lane;
        while column < vectors {
            let value = Vector::<f32, N>::cast_from(x[first + column]);
            squares += value * value;
            column += units;
        }
    }
    let width = f32::cast_from((vectors * N::value()) as u32);
    let scale = 1.0 / (sum_of_row(squares, layout) / width + epsilon).sqrt();
    if exists {
        let mut column = lane;
        while column < vectors {
            let value = Vector::<f32, N>::cast_from(x[first + column]);
            let normalized = value * Vector::new(scale) * weight[column];
            output[first + column] = Vector::cast_from(normalized);
            column += units;
        }
    }
}

/// The gradient of `x`, with what is added to it; where it is wanted the output; and where that of
/// the weight is wanted sums of `grad_output * x * scale` over the rows of each cube, `[cubes,
/// width]`. A cube for each `chunk` rows. A unit has `columns` vectors of every row.
#[cube(launch)]
#[allow(
    clippy::too_many_arguments,
    reason = "a kernel takes scalars one by one"
)]
fn backward_kernel<F: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<f32, N>],
    grad_output: &[Vector<F, N>],
    added: ComptimeOption<&[Vector<F, N>]>,
    grad_x: &mut [Vector<F, N>],
    mut output: ComptimeOption<&mut [Vector<F, N>]>,
    sums: ComptimeOption<&mut [Vector<f32, N>]>,
    epsilon: f32,
    chunk: usize,
    #[comptime] columns: usize,
    #[comptime] layout: Layout,
    #[define(F)] _element: ElemType,
) {
    let units = comptime!(layout.units);
    let lane = UNIT_POS as usize % units;
    let place = UNIT_POS as usize / units;
    let vectors = weight.len();
    let width = f32::cast_from((vectors * N::value()) as u32);
    let mut row_sums = Array::<Vector<f32, N>>::new(columns);
    #[unroll]
    for n in 0..columns {
        row_sums[n] = Vector::new(f32::new(0.0));
    }
    // As many rounds for every unit: they wait for each other.
    for round in 0..chunk / comptime!(layout.rows) {
        let row = CUBE_POS * chunk + round * comptime!(layout.rows) + place;
        let first = row * vectors;
        let exists = first < x.len();
        let mut squares = Vector::<f32, N>::new(f32::new(0.0));
        let mut products = Vector::<f32, N>::new(f32::new(0.0));
        if exists {
            #[unroll]
            for n in 0..columns {
                let column = lane + n * units;
                if column < vectors {
                    let value = Vector::<f32, N>::cast_from(x[first + column]);
                    let gradient = Vector::<f32, N>::cast_from(grad_output[first + column]);
                    squares += value * value;
                    products += gradient * weight[column] * value;
                }
            }
        }
        let scale = 1.0 / (sum_of_row(squares, layout) / width + epsilon).sqrt();
        let factor = sum_of_row(products, layout) / width * scale * scale;
        if exists {
            let scale = Vector::<f32, N>::new(scale);
            let factor = Vector::<f32, N>::new(factor);
            #[unroll]
            for n in 0..columns {
                let column = lane + n * units;
                if column < vectors {
                    let value = Vector::<f32, N>::cast_from(x[first + column]);
                    let gradient = Vector::<f32, N>::cast_from(grad_output[first + column]);
                    let mut found = scale * (gradient * weight[column] - value * factor);
                    #[comptime]
                    if let ComptimeOption::Some(added) = &added {
                        found += Vector::<f32, N>::cast_from(added[first + column]);
                    }
                    grad_x[first + column] = Vector::cast_from(found);
                    #[comptime]
                    if let ComptimeOption::Some(output) = &mut output {
                        let normalized = value * scale * weight[column];
                        output[first + column] = Vector::cast_from(normalized);
                    }
                    if sums.is_some() {
                        row_sums[n] += gradient * value * scale;
                    }
                }
            }
        }
    }
    #[comptime]
    if let ComptimeOption::Some(sums) = sums {
        // Those of the rows that the cube has at a time, in their order.
        let mut parts = Shared::<[Vector<f32, N>]>::new_slice(UNITS);
        #[unroll]
        for n in 0..columns {
            parts[UNIT_POS as usize] = row_sums[n];
            sync_cube();
            let column = lane + n * units;
            let at = CUBE_POS * vectors + column;
            if place == 0 && column < vectors && at < sums.len() {
                let mut sum = parts[lane];
                #[unroll]
                for row in 1..comptime!(layout.rows) {
                    sum += parts[row * units + lane];
                }
                sums[at] = sum;
            }
            sync_cube();
        }
    }
}

/// Adds up the `rows` rows of a matrix. A cube for each `COLUMNS` vectors, in which each of `LANES`
/// units adds every `LANES`th row, and one the sums of all.
#[cube(launch)]
fn sum_rows_kernel<N: Size>(matrix: &[Vector<f32, N>], sums: &mut [Vector<f32, N>], rows: usize) {
    let mut parts = Shared::<[Vector<f32, N>]>::new_slice(UNITS);
    let vectors = sums.len();
    let unit = UNIT_POS as usize;
    let lane = unit / COLUMNS;
    let column = CUBE_POS * COLUMNS + unit % COLUMNS;
    let mut sum = Vector::<f32, N>::new(f32::new(0.0));
    if column < vectors {
        let mut row = lane;
        while row < rows {
            sum += matrix[row * vectors + column];
            row += LANES;
        }
    }
    parts[unit] = sum;
    sync_cube();
    if lane == 0 && column < vectors {
        let mut sum = parts[unit];
        #[unroll]
        for lane in 1..LANES {
            sum += parts[lane * COLUMNS + unit];
        }
        sums[column] = sum;
    }
}

/// The sum of all rows of a matrix.
fn sum_rows(matrix: CubeTensor, width: usize) -> CubeTensor {
    let vector = vector_size(width);
    let sums = empty(&matrix, [width]);
    let count = matrix.shape().num_elements() / width;
    sum_rows_kernel::launch(
        &sums.client,
        rows((width / vector).div_ceil(COLUMNS)),
        row_units(),
        vector,
        matrix.into_buffer(),
        sums.clone().into_buffer(),
        count,
    );
    sums
}

/// What the backward pass wants beside the gradient of `x`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The output once more: the pass reads all that it is computed from.
    pub(super) output: bool,
    pub(super) grad_weight: bool,
}

/// The results of the backward pass.
pub(super) struct Found {
    pub(super) grad_x: CubeTensor,
    pub(super) output: Option<CubeTensor>,
    pub(super) grad_weight: Option<CubeTensor>,
}

/// The gradients for `grad_output`, that of `x` with `added` to it, of tensors that need not be
/// contiguous.
pub(super) fn backward(
    x: CubeTensor,
    weight: CubeTensor,
    epsilon: f64,
    grad_output: CubeTensor,
    added: Option<CubeTensor>,
    wanted: Wanted,
) -> Found {
    let (x, weight) = (into_contiguous(x), into_contiguous(weight));
    let grad_output = into_gradient(grad_output, &x);
    let added = added.map(|added| into_gradient(added, &x));
    let [tokens, width] = sizes(&x);
    let vector = vector_size(width);
    let layout = Layout::for_row_of(width / vector);
    let chunk = layout.chunk(tokens, wanted.grad_weight);
    let chunks = tokens.div_ceil(chunk).max(1);
    let like_x = || empty_of(&x, [tokens, width], x.dtype);
    let (grad_x, output) = (like_x(), wanted.output.then(like_x));
    let sums = wanted.grad_weight.then(|| empty(&x, [chunks * width]));
    backward_kernel::launch(
        &grad_x.client,
        rows(chunks),
        row_units(),
        vector,
        x.clone().into_buffer(),
        weight.into_buffer(),
        grad_output.into_buffer(),
        added.map(IntoBuffer::into_buffer).into(),
        grad_x.clone().into_buffer(),
        output.clone().map(IntoBuffer::into_buffer).into(),
        sums.clone().map(IntoBuffer::into_buffer).into(),
        epsilon as f32,
        chunk,
        (width / vector).div_ceil(layout.units),
        layout,
        element(&x),
    );
    Found {
        grad_x,
        output,
        grad_weight: sums.map(|sums| sum_rows(sums, width)),
    }
}

impl RmsNormPasses for Cube {
    /// Input and weight, and what is added to the mean of the squares.
    type Saved = (CubeTensor, CubeTensor, f64);

    fn forward(x: CubeTensor, weight: CubeTensor, epsilon: f64) -> (CubeTensor, Self::Saved) {
        let (x, weight) = (into_contiguous(x), into_contiguous(weight));
        let [tokens, width] = sizes(&x);
        let vector = vector_size(width);
        let layout = Layout::for_row_of(width / vector);
        let output = empty_of(&x, [tokens, width], x.dtype);
        forward_kernel::launch(
            &x.client,
            rows(tokens.div_ceil(layout.rows)),
            row_units(),
            vector,
            x.clone().into_buffer(),
            weight.clone().into_buffer(),
            output.clone().into_buffer(),
            epsilon as f32,
            layout,
            element(&x),
        );
        (output, (x, weight, epsilon))
    }

    fn backward(
        (x, weight, epsilon): Self::Saved,
        grad_output: CubeTensor,
        wants_weight: bool,
    ) -> (CubeTensor, Option<CubeTensor>) {
        let wanted = Wanted {
            output: false,
            grad_weight: wants_weight,
        };
        let found = backward(x, weight, epsilon, grad_output, None, wanted);
        (found.grad_x, found.grad_weight)
    }
}
