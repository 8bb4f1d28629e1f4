//! AdamW and the sum of squares on a GPU.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

use super::launch::{UNITS, elementwise, row_units, rows};
use super::reduce::cube_sum;
use super::tensor::{CubeTensor, IntoBuffer, empty};
use crate::flex::adamw::Coefficients;

/// Elements of a gradient that one cube adds up.
const CHUNK: usize = 4096;

#[cube(launch)]
#[allow(
    clippy::too_many_arguments,
    reason = "a kernel takes scalars one by one"
)]
fn update_kernel(
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    flags: &mut [f32],
    factor: &[f32],
    flag: usize,
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    decay: f32,
    rate: f32,
    root: f32,
) {
    if ABSOLUTE_POS < parameter.len() {
        // Gradients without a finite norm: nothing changes.
        let factor = factor[0];
        if factor < 0.0 {
            terminate!();
        }
        let gradient = gradient[ABSOLUTE_POS] * factor;
        let mean = beta_1 * first[ABSOLUTE_POS] + (1.0 - beta_1) * gradient;
        let square = beta_2 * second[ABSOLUTE_POS] + (1.0 - beta_2) * gradient * gradient;
        first[ABSOLUTE_POS] = mean;
        second[ABSOLUTE_POS] = square;
        let step = rate * mean / (square.sqrt() * root + epsilon);
        let updated = parameter[ABSOLUTE_POS] * decay - step;
        parameter[ABSOLUTE_POS] = updated;
        // Units that find something write the same.
        if updated.is_nan() || updated.is_inf() || square.is_nan() || square.is_inf() {
            flags[flag] = f32::new(1.0);
        }
    }
}

/// One step of a parameter, in place: parameter and moments are contiguous and held by nobody else.
/// Sets the flag of this number to 1 where parameter or second moment is not finite afterwards.
pub(crate) fn update(
    parameter: &CubeTensor,
    gradient: CubeTensor,
    [first, second]: [&CubeTensor; 2],
    (flags, flag): (CubeTensor, usize),
    factor: CubeTensor,
    coefficients: &Coefficients,
) {
    let gradient = into_contiguous(gradient);
    let (cubes, units) = elementwise(&parameter.client, parameter.shape().num_elements());
    update_kernel::launch(
        &parameter.client,
        cubes,
        units,
        parameter.clone().into_buffer(),
        gradient.into_buffer(),
        first.clone().into_buffer(),
        second.clone().into_buffer(),
        flags.into_buffer(),
        factor.into_buffer(),
        flag,
        coefficients.beta_1,
        coefficients.beta_2,
        coefficients.epsilon,
        coefficients.decay,
        coefficients.rate,
        coefficients.second,
    );
}

/// The factor that limits the norm, `[1]`, by one cube; below 0 where the norm is not finite. WGSL
/// cannot write NaN.
#[cube(launch)]
fn limit_kernel(squares: &[f32], factor: &mut [f32], max_norm: f32, #[comptime] units: usize) {
    let mut sum = f32::new(0.0);
    let mut at = UNIT_POS as usize;
    while at < squares.len() {
        sum += squares[at];
        at += units;
    }
    let norm = cube_sum(sum, units).sqrt();
    if UNIT_POS == 0 {
        let mut limited = f32::new(1.0);
        if max_norm > 0.0 {
            limited = min(max_norm / (norm + 1e-6), 1.0);
        }
        if norm.is_nan() || norm.is_inf() {
            limited = f32::new(-1.0);
        }
        factor[0] = limited;
    }
}

/// See [`crate::clip_factor`].
pub(crate) fn limit(squares: CubeTensor, max_norm: f64) -> CubeTensor {
    let factor = empty(&squares, [1]);
    limit_kernel::launch(
        &factor.client,
        rows(1),
        row_units(),
        squares.into_buffer(),
        factor.clone().into_buffer(),
        max_norm as f32,
        UNITS,
    );
    factor
}

/// The sum of squares of each chunk, a cube for each.
#[cube(launch)]
fn squares_kernel(
    gradient: &[f32],
    sums: &mut [f32],
    first: usize,
    chunks: usize,
    #[comptime] chunk: usize,
    #[comptime] units: usize,
) {
    if CUBE_POS >= chunks {
        terminate!();
    }
    let mut at = CUBE_POS * chunk + UNIT_POS as usize;
    let end = min((CUBE_POS + 1) * chunk, gradient.len());
    let mut squares = f32::new(0.0);
    while at < end {
        squares += gradient[at] * gradient[at];
        at += units;
    }
    let sum = cube_sum(squares, units);
    if UNIT_POS == 0 {
        sums[first + CUBE_POS] = sum;
    }
}

/// The sums of squares of the chunks of gradients, one after the other.
pub(crate) fn chunked_squares(gradients: Vec<CubeTensor>) -> Option<CubeTensor> {
    let chunks = |gradient: &CubeTensor| gradient.shape().num_elements().div_ceil(CHUNK);
    let count = gradients.iter().map(chunks).sum::<usize>();
    let sums = empty(gradients.first()?, [count]);
    let mut first = 0;
    for gradient in gradients {
        let gradient = into_contiguous(gradient);
        let chunks = chunks(&gradient);
        squares_kernel::launch(
            &sums.client,
            rows(chunks),
            row_units(),
            gradient.into_buffer(),
            sums.clone().into_buffer(),
            first,
            chunks,
            CHUNK,
            UNITS,
        );
        first += chunks;
    }
    Some(sums)
}
