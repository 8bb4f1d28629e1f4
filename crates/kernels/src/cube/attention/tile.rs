//! Tiles of queries, keys, values and scores in the memory that the units of a cube share.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// Rows and columns of a square of scores that one unit computes.
pub(super) const SQUARE: usize = 4;

/// Sizes of the tiles of an attention. A tile has `side` queries or keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    pub(super) side: usize,
    pub(super) head_dim: usize,
}

impl Tile {
    /// The largest tile whose three matrices and scores fit in `bytes` of shared memory, if any.
    pub(super) fn fitting(head_dim: usize, bytes: usize) -> Option<Self> {
        let mut tiles = [32, 16].map(|side| Self { side, head_dim }).into_iter();
        tiles.find(|tile| {
            let elements = 3 * tile.elements() + tile.side * (tile.side + 1);
            elements * size_of::<f32>() <= bytes
        })
    }

    /// Squares along a side.
    pub(super) fn groups(&self) -> usize {
        self.side / SQUARE
    }

    /// Units of a cube: one for each square of scores.
    pub(super) fn units(&self) -> usize {
        self.groups() * self.groups()
    }

    /// Columns of a head that one unit accumulates, with a distance of `groups` between them.
    pub(super) fn columns(&self) -> usize {
        self.head_dim.div_ceil(self.groups())
    }

    /// Elements from one row to the next. It is odd, so that units that read a column do so from
    /// different banks.
    pub(super) fn stride(&self) -> usize {
        self.columns() * self.groups() + 1
    }

    /// Elements of a matrix of queries, keys or values.
    pub(super) fn elements(&self) -> usize {
        self.side * self.stride()
    }
}

/// Loads the rows from `first` of a matrix whose rows have `width` elements, from column `column`
/// on. Rows from `end` on are zero.
#[cube]
pub(super) fn load<F: Float>(
    rows: &mut Shared<[f32]>,
    matrix: &[F],
    first: usize,
    end: usize,
    width: usize,
    column: usize,
    #[comptime] tile: Tile,
) {
    let count = comptime!(tile.side * tile.head_dim);
    let head_dim = comptime!(tile.head_dim);
    let stride = comptime!(tile.stride());
    let units = comptime!(tile.units());
    let mut index = UNIT_POS as usize;
    while index < count {
        let row = index / head_dim;
        let d = index % head_dim;
        let mut value = f32::new(0.0);
        if first + row < end {
            value = f32::cast_from(matrix[(first + row) * width + column + d]);
        }
        rows[row * stride + d] = value;
        index += units;
    }
}

/// The products of four rows of `left` with four rows of `right`, row by row.
#[cube]
pub(super) fn products(
    left: &Shared<[f32]>,
    left_row: usize,
    right: &Shared<[f32]>,
    right_row: usize,
    #[comptime] tile: Tile,
) -> Array<f32> {
    let stride = comptime!(tile.stride());
    let mut sums = Array::<f32>::new(comptime!(SQUARE * SQUARE));
    #[unroll]
    for n in 0..comptime!(SQUARE * SQUARE) {
        sums[n] = f32::new(0.0);
    }
    let mut columns = Array::<f32>::new(SQUARE);
    for d in 0..comptime!(tile.head_dim) {
        #[unroll]
        for j in 0..SQUARE {
            columns[j] = right[(right_row + j) * stride + d];
        }
        #[unroll]
        for i in 0..SQUARE {
            let x = left[(left_row + i) * stride + d];
            #[unroll]
            for j in 0..SQUARE {
                sums[i * SQUARE + j] += x * columns[j];
            }
        }
    }
    sums
}

/// Zeros for [`accumulate`].
#[cube]
pub(super) fn no_sums(#[comptime] tile: Tile) -> Array<f32> {
    let count = comptime!(SQUARE * tile.columns());
    let mut sums = Array::<f32>::new(count);
    #[unroll]
    for n in 0..count {
        sums[n] = f32::new(0.0);
    }
    sums
}

/// Adds the products of four rows of `weights` (a tile of scores) with this unit's columns of
/// `rows`.
#[cube]
pub(super) fn accumulate(
    sums: &mut Array<f32>,
    weights: &Shared<[f32]>,
    weight_row: usize,
    rows: &Shared<[f32]>,
    group: usize,
    #[comptime] tile: Tile,
) {
    let columns = comptime!(tile.columns());
    let groups = comptime!(tile.groups());
    let stride = comptime!(tile.stride());
    let side = comptime!(tile.side);
    let mut factors = Array::<f32>::new(SQUARE);
    for j in 0..side {
        #[unroll]
        for i in 0..SQUARE {
            factors[i] = weights[(weight_row + i) * (side + 1) + j];
        }
        #[unroll]
        for n in 0..columns {
            let x = rows[j * stride + group + n * groups];
            #[unroll]
            for i in 0..SQUARE {
                sums[i * columns + n] += factors[i] * x;
            }
        }
    }
}

/// Multiplies each of the four rows of sums by the factor of its query.
#[cube]
pub(super) fn rescale(
    sums: &mut Array<f32>,
    factors: &Shared<[f32]>,
    query: usize,
    #[comptime] tile: Tile,
) {
    let columns = comptime!(tile.columns());
    #[unroll]
    for i in 0..SQUARE {
        let factor = factors[query + i];
        #[unroll]
        for n in 0..columns {
            sums[i * columns + n] *= factor;
        }
    }
}

/// Writes the sums of [`accumulate`], times `factor`, to the rows from `first` of a matrix. Rows
/// from `end` on are left out.
#[cube]
pub(super) fn store<F: Float>(
    sums: &Array<f32>,
    matrix: &mut [F],
    first: usize,
    end: usize,
    width: usize,
    column: usize,
    group: usize,
    factor: f32,
    #[comptime] tile: Tile,
) {
    let columns = comptime!(tile.columns());
    let groups = comptime!(tile.groups());
    let head_dim = comptime!(tile.head_dim);
    #[unroll]
    for i in 0..SQUARE {
        if first + i < end {
            #[unroll]
            for n in 0..columns {
                let d = group + n * groups;
                if d < head_dim {
                    let value = sums[i * columns + n] * factor;
                    matrix[(first + i) * width + column + d] = F::cast_from(value);
                }
            }
        }
    }
}
