//! One head's queries, keys and values as matrices.

use super::shape::Shape;
use super::tile::Tile;
use crate::flex::matmul::{Matrix, Parallelism, Product};

/// A head of the query, and the heads of key and value that it uses, in one row of the batch.
pub(super) struct Head<'a> {
    /// From the row's first token on, `[tokens, width]`.
    qkv: &'a [f32],
    width: usize,
    head_dim: usize,
    scale: f32,
    /// Where query, key and value begin in a token's row.
    columns: [usize; 3],
}

impl<'a> Head<'a> {
    pub(super) fn new(shape: &Shape, qkv: &'a [f32], row: usize, head: usize) -> Self {
        Self {
            qkv: &qkv[row * shape.seq * shape.width()..],
            width: shape.width(),
            head_dim: shape.head_dim,
            scale: shape.scale(),
            columns: shape.columns(head),
        }
    }

    pub(super) fn query(&self, tile: &Tile) -> Matrix<'a> {
        self.part(tile, 0)
    }

    pub(super) fn key(&self, tile: &Tile) -> Matrix<'a> {
        self.part(tile, 1)
    }

    pub(super) fn value(&self, tile: &Tile) -> Matrix<'a> {
        self.part(tile, 2)
    }

    fn part(&self, tile: &Tile, part: usize) -> Matrix<'a> {
        let values = &self.qkv[tile.start * self.width + self.columns[part]..];
        Matrix::strided(values, tile.len(), self.head_dim, self.width)
    }

    /// `scale * q k^T`, without the mask: `[queries, keys]`.
    pub(super) fn scores(&self, queries: &Tile, keys: &Tile) -> Product<'a> {
        let keys = self.key(keys).transposed();
        Product::new(self.query(queries), keys, Parallelism::Serial).scaled(self.scale)
    }
}
