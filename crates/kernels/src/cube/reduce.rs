//! Sums and maxima over the units of a cube.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// The sum of the `value` of each unit, added in a tree, for every unit of a cube of `units`.
#[cube]
pub(super) fn cube_sum(value: f32, #[comptime] units: usize) -> f32 {
    let mut sums = Shared::<[f32]>::new_slice(units);
    let unit = UNIT_POS as usize;
    sums[unit] = value;
    sync_cube();
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        if unit < half {
            let other = sums[unit + half];
            sums[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    let sum = sums[0];
    // The next reduction may use the same memory.
    sync_cube();
    sum
}

/// The sum of the `value` of each of the `units` of a row, added in a tree, for every unit of the
/// row. A cube of `units * rows` units has so many rows, one after the other.
#[cube]
pub(super) fn row_sum(value: f32, #[comptime] units: usize, #[comptime] rows: usize) -> f32 {
    let mut sums = Shared::<[f32]>::new_slice(comptime!(units * rows));
    let unit = UNIT_POS as usize;
    let lane = unit % units;
    sums[unit] = value;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if lane < half {
            let other = sums[unit + half];
            sums[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    let sum = sums[unit - lane];
    // The next reduction may use the same memory.
    sync_cube();
    sum
}

/// The greatest `value` of all units, for every unit of a cube of `units`.
#[cube]
pub(super) fn cube_max(value: f32, #[comptime] units: usize) -> f32 {
    let mut greatest = Shared::<[f32]>::new_slice(units);
    let unit = UNIT_POS as usize;
    greatest[unit] = value;
    sync_cube();
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        if unit < half {
            let other = greatest[unit + half];
            greatest[unit] = max(greatest[unit], other);
        }
        sync_cube();
        half /= 2;
    }
    let result = greatest[0];
    // The next reduction may use the same memory.
    sync_cube();
    result
}
