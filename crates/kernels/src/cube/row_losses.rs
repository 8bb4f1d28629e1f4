//! The cross-entropy of rows of logits on a GPU, and the gradient of the logits.

use burn_cubecl::cubecl;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{UNITS, rows, vector_size};
use super::reduce::{cube_max, cube_sum};
use super::tensor::{CubeTensor, IntoBuffer, element, empty, sizes};

/// The greatest of a vector's elements.
#[cube]
fn vector_max<N: Size>(x: Vector<f32, N>) -> f32 {
    let mut greatest = x.extract(0usize);
    #[unroll]
    for lane in 1..x.vector_size() {
        greatest = max(greatest, x.extract(lane));
    }
    greatest
}

/// The gradient of a vector of logits less the weights of those targets, `start` to `end`, whose
/// tokens it has.
#[cube]
fn less_targets<N: Size>(
    gradient: Vector<f32, N>,
    column: usize,
    tokens: &[u32],
    weights: &[f32],
    start: usize,
    end: usize,
) -> Vector<f32, N> {
    let mut gradient = gradient;
    let mut target = start;
    while target < end {
        let token = tokens[target] as usize;
        if token / N::value() == column {
            #[unroll]
            for lane in 0..N::value() {
                if token % N::value() == lane {
                    let less = gradient.extract(lane) - weights[target];
                    gradient.insert(lane, less);
                }
            }
        }
        target += 1;
    }
    gradient
}

/// A cube of `units` for each row of a chunk: the losses of its targets, `starts[row]` to
/// `starts[row + 1]` counted from the chunk's first, and where gradients are wanted that of the
/// logits: `softmax(z) * (the row's summed weight) - weight at each target's token`. A row has
/// `vectors`, of which a unit holds `columns`.
#[cube(launch)]
#[allow(
    clippy::too_many_arguments,
    reason = "a kernel takes scalars one by one"
)]
fn row_losses_kernel<F: Float, N: Size>(
    logits: &[Vector<f32, N>],
    starts: &[u32],
    tokens: &[u32],
    weights: &[f32],
    losses: &mut [f32],
    grad_logits: &mut [Vector<F, N>],
    first_row: usize,
    count: usize,
    vectors: usize,
    wants_gradients: u32,
    #[comptime] columns: usize,
    #[comptime] units: usize,
    #[define(F)] _element: ElemType,
) {
    if CUBE_POS >= count {
        terminate!();
    }
    let first = CUBE_POS * vectors;
    let start = starts[first_row + CUBE_POS] as usize;
    let end = starts[first_row + CUBE_POS + 1] as usize;
    let unit = UNIT_POS as usize;

    // Each unit holds its first logits in registers: a row is read once, but for what does not fit.
    let mut held = Array::<Vector<f32, N>>::new(columns);
    let mut highest = Vector::<f32, N>::new(f32::new(-3.0e38));
    #[unroll]
    for n in 0..columns {
        held[n] = Vector::new(f32::new(-3.0e38));
        let column = unit + n * units;
        if column < vectors {
            held[n] = logits[first + column];
        }
        highest = max(highest, held[n]);
    }
    // Of the others it keeps the greatest and the sum relative to it: one pass over them.
    let mut sums = Vector::<f32, N>::new(f32::new(0.0));
    let mut column = unit + columns * units;
    while column < vectors {
        let logit = logits[first + column];
        let greatest = max(highest, logit);
        sums = sums * (highest - greatest).exp() + (logit - greatest).exp();
        highest = greatest;
        column += units;
    }
    let greatest = cube_max(vector_max(highest), units);
    sums *= (highest - Vector::new(greatest)).exp();
    #[unroll]
    for n in 0..columns {
        held[n] = (held[n] - Vector::new(greatest)).exp();
        sums += held[n];
    }
    let sum = cube_sum(sums.vector_sum(), units);
    let log_sum_exp = greatest + sum.ln();

    let mut weight = f32::new(0.0);
    let mut target = start;
    while target < end {
        weight += weights[target];
        target += 1;
    }
    if UNIT_POS == 0 {
        let mut target = start;
        while target < end {
            let token = tokens[target] as usize;
            let logit = logits[first + token / N::value()];
            losses[target] = log_sum_exp - logit.extract_dynamic(token % N::value());
            target += 1;
        }
    }
    if wants_gradients != 0 {
        let factor = Vector::<f32, N>::new(weight / sum);
        #[unroll]
        for n in 0..columns {
            let column = unit + n * units;
            if column < vectors {
                let gradient = held[n] * factor;
                let gradient = less_targets(gradient, column, tokens, weights, start, end);
                grad_logits[first + column] = Vector::cast_from(gradient);
            }
        }
        // From the last column to the first, as the last ones are still in the cache.
        let mut rounds = vectors.div_ceil(units);
        while rounds > columns {
            rounds -= 1;
            let column = rounds * units + unit;
            if column < vectors {
                let at = first + column;
                let gradient = (logits[at] - Vector::new(greatest)).exp() * factor;
                let gradient = less_targets(gradient, column, tokens, weights, start, end);
                grad_logits[at] = Vector::cast_from(gradient);
            }
        }
    }
}

/// What the rows' losses need on the device.
pub(super) struct DeviceTargets {
    /// Where the targets of each row begin: those of row r are `starts[r]` to `starts[r + 1]`.
    pub(super) starts: CubeTensor,
    pub(super) tokens: CubeTensor,
    pub(super) weights: CubeTensor,
}

/// Most vectors of logits that a unit holds in registers. Eight of four elements take half of the
/// registers that a unit has in a cube of 1024.
const MOST_HELD: usize = 8;

/// Units of a cube for a row of logits: as many as hold much of a row together. The fewer rows are
/// worked on at a time, the more of the rest is still in the cache when the gradients need it
/// again.
fn units_for_logits(logits: &CubeTensor) -> usize {
    let most = logits.client.properties().hardware.max_units_per_cube as usize;
    match most {
        1024.. => 1024,
        _ => UNITS,
    }
}

/// The losses of a chunk's targets, and where wanted the gradient of its logits in their own type.
pub(super) fn chunk_losses(
    logits: CubeTensor,
    targets: &DeviceTargets,
    losses: &CubeTensor,
    first_row: usize,
    grad_logits: Option<&CubeTensor>,
) {
    let [count, vocab] = sizes(&logits);
    let vector = vector_size(vocab);
    let units = units_for_logits(&logits);
    let unused = empty(&logits, [vector]);
    let wants_gradients = u32::from(grad_logits.is_some());
    let grad_logits = grad_logits.unwrap_or(&unused);
    row_losses_kernel::launch(
        &losses.client,
        rows(count),
        CubeDim::new_1d(units as u32),
        vector,
        logits.into_buffer(),
        targets.starts.clone().into_buffer(),
        targets.tokens.clone().into_buffer(),
        targets.weights.clone().into_buffer(),
        losses.clone().into_buffer(),
        grad_logits.clone().into_buffer(),
        first_row,
        count,
        vocab / vector,
        wants_gradients,
        (vocab / vector).div_ceil(units).min(MOST_HELD),
        units,
        element(grad_logits),
    );
}
