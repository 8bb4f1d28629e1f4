//! AdamW and the sum of squares on a GPU.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::client::Client;
use cubecl::prelude::*;

use super::launch::{UNITS, row_units, rows, tensors_of_a_launch};
use super::reduce::cube_sum;
use super::tensor::{CubeTensor, IntoBuffer, empty};
use crate::flex::adamw::Coefficients;

/// Elements of a gradient that one cube adds up.
const CHUNK: usize = 4096;

/// Elements of a parameter that one cube updates.
const UPDATED: usize = 1024;

/// A parameter, its gradient and its moments, contiguous. But for the gradient they are changed in
/// place, and nobody else holds them.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) parameter: CubeTensor,
    pub(crate) gradient: CubeTensor,
    pub(crate) first: CubeTensor,
    pub(crate) second: CubeTensor,
}

/// A cube for each chunk of each parameter. Sets a parameter's flag where something of it is not
/// finite afterwards.
#[cube(launch)]
#[allow(
    clippy::too_many_arguments,
    reason = "a kernel takes scalars one by one"
)]
fn update_kernel(
    parameters: &mut Sequence<Box<[f32]>>,
    gradients: &Sequence<Box<[f32]>>,
    firsts: &mut Sequence<Box<[f32]>>,
    seconds: &mut Sequence<Box<[f32]>>,
    flags: &mut [f32],
    factor: &[f32],
    first_flag: usize,
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    decay: f32,
    rate: f32,
    root: f32,
    #[comptime] chunk: usize,
    #[comptime] units: usize,
) {
    // Gradients without a finite norm: nothing changes.
    let factor = factor[0];
    if factor < 0.0 {
        terminate!();
    }
    let mut first_cube = 0;
    #[unroll]
    for n in 0..parameters.len() {
        let end_cube = first_cube + parameters[n].len().div_ceil(chunk);
        if CUBE_POS >= first_cube && CUBE_POS < end_cube {
            let parameter = &mut parameters[n];
            let gradients = &gradients[n];
            let first = &mut firsts[n];
            let second = &mut seconds[n];
            let start = (CUBE_POS - first_cube) * chunk;
            let end = min(start + chunk, parameter.len());
            let mut at = start + UNIT_POS as usize;
            while at < end {
                let gradient = gradients[at] * factor;
                let mean = beta_1 * first[at] + (1.0 - beta_1) * gradient;
                let square = beta_2 * second[at] + (1.0 - beta_2) * gradient * gradient;
                first[at] = mean;
                second[at] = square;
                let step = rate * mean / (square.sqrt() * root + epsilon);
                let updated = parameter[at] * decay - step;
                parameter[at] = updated;
                // Units that find something write the same.
                if updated.is_nan() || updated.is_inf() || square.is_nan() || square.is_inf() {
                    flags[first_flag + n] = f32::new(1.0);
                }
                at += units;
            }
        }
        first_cube = end_cube;
    }
}

/// How many parameters [`update`] takes at once.
pub(crate) fn updates_of_a_launch(client: &Client) -> usize {
    tensors_of_a_launch(client, 4, 2)
}

/// One step of these parameters, in place. Sets flags from this number on to 1 where a parameter or
/// its second moment is not finite afterwards.
pub(crate) fn update(
    updates: &[Update],
    (flags, first_flag): (CubeTensor, usize),
    factor: CubeTensor,
    coefficients: &Coefficients,
) {
    let chunks = |update: &Update| update.parameter.shape().num_elements().div_ceil(UPDATED);
    let buffers = |part: fn(&Update) -> &CubeTensor| {
        let buffer = |update| part(update).clone().into_buffer();
        updates.iter().map(buffer).collect()
    };
    let client = flags.client.clone();
    update_kernel::launch(
        &client,
        rows(updates.iter().map(chunks).sum()),
        row_units(),
        buffers(|update| &update.parameter),
        buffers(|update| &update.gradient),
        buffers(|update| &update.first),
        buffers(|update| &update.second),
        flags.into_buffer(),
        factor.into_buffer(),
        first_flag,
        coefficients.beta_1,
        coefficients.beta_2,
        coefficients.epsilon,
        coefficients.decay,
        coefficients.rate,
        coefficients.second,
        UPDATED,
        UNITS,
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

/// The sum of squares of each chunk of each gradient, a cube for each.
#[cube(launch)]
fn squares_kernel(
    gradients: &Sequence<Box<[f32]>>,
    sums: &mut [f32],
    first: usize,
    #[comptime] chunk: usize,
    #[comptime] units: usize,
) {
    let mut squares = f32::new(0.0);
    let mut first_cube = 0;
    #[unroll]
    for n in 0..gradients.len() {
        let end_cube = first_cube + gradients[n].len().div_ceil(chunk);
        if CUBE_POS >= first_cube && CUBE_POS < end_cube {
            let start = (CUBE_POS - first_cube) * chunk;
            let end = min(start + chunk, gradients[n].len());
            let mut at = start + UNIT_POS as usize;
            while at < end {
                squares += gradients[n][at] * gradients[n][at];
                at += units;
            }
        }
        first_cube = end_cube;
    }
    let sum = cube_sum(squares, units);
    if UNIT_POS == 0 && CUBE_POS < first_cube {
        sums[first + CUBE_POS] = sum;
    }
}

/// The sums of squares of the chunks of gradients, one after the other.
pub(crate) fn chunked_squares(gradients: Vec<CubeTensor>) -> Option<CubeTensor> {
    let chunks = |gradient: &CubeTensor| gradient.shape().num_elements().div_ceil(CHUNK);
    let count = gradients.iter().map(chunks).sum::<usize>();
    let sums = empty(gradients.first()?, [count]);
    let mut first = 0;
    for group in gradients.chunks(tensors_of_a_launch(&sums.client, 1, 1)) {
        let chunks = group.iter().map(chunks).sum();
        let buffer = |gradient: &CubeTensor| into_contiguous(gradient.clone()).into_buffer();
        squares_kernel::launch(
            &sums.client,
            rows(chunks),
            row_units(),
            group.iter().map(buffer).collect(),
            sums.clone().into_buffer(),
            first,
            CHUNK,
            UNITS,
        );
        first += chunks;
    }
    Some(sums)
}
