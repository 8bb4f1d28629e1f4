//! How many units and cubes a kernel is launched with.

use burn_cubecl::cubecl;
use cubecl::calculate_cube_count_elemwise;
use cubecl::client::Client;
use cubecl::prelude::*;

/// Most units of a cube that works on one row together. A power of two, for sums in a tree.
pub(super) const UNITS: usize = 256;

/// Fewest of them that keep a warp busy.
pub(super) const FEWEST_UNITS: usize = 32;

/// Most cubes along one axis that every device allows.
const MOST_CUBES: usize = 65_535;

/// Most tensors of one kind that a launch works on. A kernel is compiled for each number of them.
const MOST_TENSORS: usize = 16;

/// How many tensors of one kind a launch works on where it takes `buffers` for each of them, and
/// `others` beside those.
pub(super) fn tensors_of_a_launch(client: &Client, buffers: usize, others: usize) -> usize {
    let most = client.properties().hardware.max_bindings as usize;
    // CubeCL adds a buffer of scalars and lengths.
    (most.saturating_sub(others + 1) / buffers).clamp(1, MOST_TENSORS)
}

/// A unit for each of `count` elements, and more: a kernel skips those past the end.
pub(super) fn elementwise(client: &Client, count: usize) -> (CubeCount, CubeDim) {
    let cube = CubeDim::new(client, count);
    (calculate_cube_count_elemwise(client, count, cube), cube)
}

/// A cube for each of `count` rows, and more: a kernel skips those past the end.
pub(super) fn rows(count: usize) -> CubeCount {
    let width = count.clamp(1, MOST_CUBES);
    CubeCount::Static(width as u32, count.div_ceil(width) as u32, 1)
}

/// The units of a cube that works on one row.
pub(super) fn row_units() -> CubeDim {
    CubeDim::new_1d(UNITS as u32)
}

/// Elements that a unit reads and writes at once, in rows of `width`: 8 bytes of bf16, 16 of f32,
/// which is what memory is fast with, where the width allows it.
pub(super) fn vector_size(width: usize) -> usize {
    let mut sizes = [4, 2].into_iter();
    sizes.find(|size| width.is_multiple_of(*size)).unwrap_or(1)
}
