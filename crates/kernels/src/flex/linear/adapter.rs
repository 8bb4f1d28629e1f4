//! Low-rank adapters of a linear layer's weights on slices: added to the weight before its product,
//! or two products of their own.

use std::borrow::Cow;

use rayon::prelude::*;

use super::sizes::Sizes;
use crate::flex::buffer::uninitialized;
use crate::flex::dropout::{self, add_masked};
use crate::flex::matmul::{Matrix, Parallelism, Product};
use crate::linear_operands::{LinearWeight, LowRankAdapter};

/// Elements that one task of an elementwise pass takes.
const CHUNK: usize = 1 << 15;

/// Number of tokens from which on an adapter is merged into its weight before the product.
const MERGED_TOKENS: usize = if cfg!(test) { 16 } else { 256 };

/// Whether a weight's adapter is added to it before the product, rather than multiplied apart. The
/// first reads and writes the weight, the second the output, which grows with the tokens. An input
/// under a dropout mask differs between weight and adapter, so it cannot be merged.
fn is_merged(adapter: &LowRankAdapter<&[f32]>, sizes: &Sizes) -> bool {
    sizes.tokens >= MERGED_TOKENS && adapter.mask.is_none()
}

/// The adapter of a weight, where it is not merged.
pub(super) fn separate_adapter<'w, 'a>(
    weight: &'w LinearWeight<&'a [f32]>,
    sizes: &Sizes,
) -> Option<&'w LowRankAdapter<&'a [f32]>> {
    let adapter = weight.adapter.as_ref();
    adapter.filter(|adapter| !is_merged(adapter, sizes))
}

/// The weight `[out, in]`, with its adapter where that is merged.
pub(super) fn effective_weight<'a>(
    weight: &LinearWeight<&'a [f32]>,
    sizes: &Sizes,
) -> Cow<'a, [f32]> {
    let adapter = weight.adapter.as_ref();
    let Some(adapter) = adapter.filter(|adapter| is_merged(adapter, sizes)) else {
        return Cow::Borrowed(weight.weight.dense());
    };
    let mut merged = copy(weight.weight.dense());
    let rank = sizes.rank(adapter);
    let b = Matrix::new(adapter.b, adapter.b.len() / rank, rank);
    Product::new(b, sizes.weight(adapter.a), Parallelism::Rayon)
        .scaled(adapter.scaling as f32)
        .accumulate(&mut merged);
    Cow::Owned(merged)
}

fn copy(values: &[f32]) -> Vec<f32> {
    let mut output = uninitialized(values.len());
    output
        .par_chunks_mut(CHUNK)
        .zip(values.par_chunks(CHUNK))
        .for_each(|(output, values)| {
            output.write_copy_of_slice(values);
        });
    // SAFETY: it is as long as the values, and all chunks were copied.
    unsafe { output.assume_init() }.into_vec()
}

/// The adapter's input: `input`, under its dropout mask where there is one.
pub(super) fn masked<'a>(input: &'a [f32], adapter: &LowRankAdapter<&[f32]>) -> Cow<'a, [f32]> {
    match &adapter.mask {
        None => Cow::Borrowed(input),
        Some(mask) => Cow::Owned(dropout::masked(input, mask)),
    }
}

/// `[tokens, r]`: the adapter's input times A^T.
pub(super) fn inner_product(
    adapter: &LowRankAdapter<&[f32]>,
    input: &[f32],
    sizes: &Sizes,
) -> Vec<f32> {
    let a = sizes.weight(adapter.a);
    Product::new(sizes.input(input), a.transposed(), Parallelism::Rayon).to_vec()
}

/// The gradients of an adapter that are wanted. Where `grad_input` is given, the adapter's part of
/// the gradient of its product's input is added to it.
pub(super) fn backward_adapter(
    adapter: &LowRankAdapter<&[f32]>,
    wanted: &LowRankAdapter<bool>,
    input: &[f32],
    grad_output: Matrix<'_>,
    sizes: &Sizes,
    grad_input: Option<&mut [f32]>,
) -> LowRankAdapter<Option<Vec<f32>>> {
    let rank = sizes.rank(adapter);
    let scaling = adapter.scaling as f32;
    let input = masked(input, adapter);
    let b = wanted.b.then(|| {
        let inner = inner_product(adapter, &input, sizes);
        let inner = Matrix::new(&inner, sizes.tokens, rank);
        Product::new(grad_output.transposed(), inner, Parallelism::Rayon)
            .scaled(scaling)
            .to_vec()
    });
    let b_matrix = Matrix::new(adapter.b, adapter.b.len() / rank, rank);
    let grad_inner = Product::new(grad_output, b_matrix, Parallelism::Rayon)
        .scaled(scaling)
        .to_vec();
    let grad_inner = Matrix::new(&grad_inner, sizes.tokens, rank);
    let a = wanted.a.then(|| {
        let input = sizes.input(&input);
        Product::new(grad_inner.transposed(), input, Parallelism::Rayon).to_vec()
    });
    if let Some(grad_input) = grad_input {
        let part = Product::new(grad_inner, sizes.weight(adapter.a), Parallelism::Rayon);
        match &adapter.mask {
            None => part.accumulate(grad_input),
            Some(mask) => add_masked(grad_input, &part.to_vec(), mask),
        }
    }
    LowRankAdapter {
        a,
        b,
        scaling: adapter.scaling,
        mask: adapter.mask.clone(),
    }
}
