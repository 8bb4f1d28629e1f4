//! Low-rank updates of a linear layer's weights on slices: added to the weight before its product, or a product of their own.

use std::borrow::Cow;

use rayon::prelude::*;

use super::buffer::buffer;
use super::linear::Sizes;
use super::matmul::{Into, Matrix, matmul};
use super::operands::{Adapter, Factor};
use super::vector::vectorize;

/// Numbers that one task of an elementwise pass takes.
const PIECE: usize = 1 << 15;

/// Tokens from which on an adapter's update is added to its weight before the product.
const MERGED_TOKENS: usize = if cfg!(test) { 16 } else { 256 };

/// Whether a weight's update is added to it before the product, rather than its own product after: that reads and writes
/// the weight where the other way reads and writes the output, and one input under a mask has no one weight.
pub(super) fn is_merged(factor: &Factor<&[f32]>, sizes: &Sizes) -> bool {
    let has_mask = |adapter: &Adapter<&[f32]>| adapter.mask.is_some();
    sizes.tokens >= MERGED_TOKENS && factor.adapter.as_ref().is_some_and(|a| !has_mask(a))
}

/// The weight, with its update where that is merged.
pub(super) fn effective_weight<'a>(factor: &Factor<&'a [f32]>, sizes: &Sizes) -> Cow<'a, [f32]> {
    let Some(adapter) = factor.adapter.as_ref().filter(|_| is_merged(factor, sizes)) else {
        return Cow::Borrowed(factor.weight);
    };
    let mut merged = buffer(factor.weight.len());
    merged
        .par_chunks_mut(PIECE)
        .zip(factor.weight.par_chunks(PIECE))
        .for_each(|(merged, weight)| merged.copy_from_slice(weight));
    let rank = adapter.a.len() / sizes.inputs;
    matmul(
        &mut merged,
        sizes.inputs,
        Into::Sum,
        adapter.scaling,
        Matrix::new(adapter.b, adapter.b.len() / rank, rank, rank),
        Matrix::new(adapter.a, rank, sizes.inputs, sizes.inputs),
        true,
    );
    Cow::Owned(merged)
}

/// `[tokens, r]`: an adapter's input times A^T.
pub(super) fn inner_product(adapter: &Adapter<&[f32]>, input: &[f32], sizes: &Sizes) -> Vec<f32> {
    let rank = adapter.a.len() / sizes.inputs;
    let mut inner = buffer(sizes.tokens * rank);
    let a = Matrix::new(adapter.a, rank, sizes.inputs, sizes.inputs);
    matmul(
        &mut inner,
        rank,
        Into::Place,
        1.0,
        sizes.rows(input),
        a.transposed(),
        true,
    );
    inner
}

pub(super) fn masked<'a>(rows: &'a [f32], mask: Option<&[f32]>) -> Cow<'a, [f32]> {
    let Some(mask) = mask else {
        return Cow::Borrowed(rows);
    };
    assert_eq!(rows.len(), mask.len());
    let mut product = buffer(rows.len());
    product
        .par_chunks_mut(PIECE)
        .zip(rows.par_chunks(PIECE))
        .zip(mask.par_chunks(PIECE))
        .for_each(|((product, rows), mask)| {
            vectorize(|| {
                let pairs = rows.iter().zip(mask);
                for (place, (x, m)) in product.iter_mut().zip(pairs) {
                    *place = x * m;
                }
            });
        });
    Cow::Owned(product)
}

/// The gradients of an adapter's factors, and its part of the input's where that is not the merged weight's.
pub(super) fn backward_adapter(
    adapter: &Adapter<&[f32]>,
    wanted: &Adapter<bool>,
    rows: &[f32],
    upper: Matrix<'_>,
    width: usize,
    sizes: &Sizes,
    of_rows: Option<&mut [f32]>,
) -> Adapter<Option<Vec<f32>>> {
    let Sizes { tokens, inputs, .. } = *sizes;
    let rank = adapter.a.len() / inputs;
    let input = masked(rows, adapter.mask);
    let b = wanted.b.then(|| {
        let inner = inner_product(adapter, &input, sizes);
        let mut gradient = buffer(adapter.b.len());
        matmul(
            &mut gradient,
            rank,
            Into::Place,
            adapter.scaling,
            upper.transposed(),
            Matrix::new(&inner, tokens, rank, rank),
            true,
        );
        gradient
    });
    let mut of_inner = buffer(tokens * rank);
    matmul(
        &mut of_inner,
        rank,
        Into::Place,
        adapter.scaling,
        upper,
        Matrix::new(adapter.b, width, rank, rank),
        true,
    );
    let of_inner = Matrix::new(&of_inner, tokens, rank, rank);
    let a = wanted.a.then(|| {
        let mut gradient = buffer(adapter.a.len());
        matmul(
            &mut gradient,
            inputs,
            Into::Place,
            1.0,
            of_inner.transposed(),
            sizes.rows(&input),
            true,
        );
        gradient
    });
    if let Some(of_rows) = of_rows {
        let factor = Matrix::new(adapter.a, rank, inputs, inputs);
        match adapter.mask {
            None => matmul(of_rows, inputs, Into::Sum, 1.0, of_inner, factor, true),
            Some(mask) => {
                let mut part = buffer(tokens * inputs);
                matmul(&mut part, inputs, Into::Place, 1.0, of_inner, factor, true);
                add_product(of_rows, &part, mask);
            }
        }
    }
    Adapter {
        a,
        b,
        mask: adapter.mask.map(|_| None),
        scaling: adapter.scaling,
    }
}

/// `sum += x * y`.
fn add_product(sum: &mut [f32], x: &[f32], y: &[f32]) {
    assert!(sum.len() == x.len() && sum.len() == y.len());
    sum.par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE))
        .zip(y.par_chunks(PIECE))
        .for_each(|((sum, x), y)| {
            vectorize(|| {
                for (sum, (x, y)) in sum.iter_mut().zip(x.iter().zip(y)) {
                    *sum += x * y;
                }
            });
        });
}
