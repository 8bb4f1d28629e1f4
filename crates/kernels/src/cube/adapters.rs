//! Adapters of a linear layer's weights on a GPU.

use std::ops::Range;

use burn::tensor::DType;

use super::cast::{all_in_type, joined_in_type};
use super::dropout::{masked, write_masked};
use super::matmul::{Addend, Block, multiply, product};
use super::tensor::{CubeTensor, empty_of, row_range, sizes, starts_aligned};
use crate::dropout_mask::DropoutMask;
use crate::linear_operands::{LinearWeight, LowRankAdapter};

/// The adapters of a layer's weights with matrices in the type of its products, which trained ones
/// are not in. Their thin products are one where they can be: each would read the whole input.
pub(super) struct Adapters {
    /// Their A below each other, `[sum of r, in]`.
    a: CubeTensor,
    /// Of each weight.
    each: Vec<Option<Adapter>>,
}

struct Adapter {
    /// Those of its A, and the columns of its inner product.
    rank: Range<usize>,
    /// `[out, r]`.
    b: CubeTensor,
    scaling: f32,
    mask: Option<DropoutMask>,
}

impl Adapters {
    /// None where no weight has one.
    pub(super) fn new(weights: &[LinearWeight<CubeTensor>], dtype: DType) -> Option<Self> {
        let adapters = || weights.iter().filter_map(|weight| weight.adapter.as_ref());
        let a: Vec<&CubeTensor> = adapters().map(|adapter| &adapter.a).collect();
        let mut b = all_in_type(adapters().map(|adapter| &adapter.b), dtype).into_iter();
        let mut end = 0;
        let mut in_type = |adapter: &LowRankAdapter<CubeTensor>| {
            let first = end;
            end += sizes(&adapter.a)[0];
            Adapter {
                rank: first..end,
                b: b.next().expect("a matrix for each adapter"),
                scaling: adapter.scaling as f32,
                mask: adapter.mask.clone(),
            }
        };
        let each = weights
            .iter()
            .map(|weight| weight.adapter.as_ref().map(&mut in_type))
            .collect();
        let a = joined_in_type(&a, dtype)?;
        Some(Self { a, each })
    }

    /// Whether every weight has one.
    pub(super) fn are_everywhere(&self) -> bool {
        self.each.iter().all(Option::is_some)
    }

    fn has_masks(&self) -> bool {
        self.each.iter().flatten().any(|each| each.mask.is_some())
    }

    fn inner_width(&self) -> usize {
        sizes(&self.a)[0]
    }

    /// `x A^T` of every adapter under its mask, `[tokens, sum of r]`.
    pub(super) fn inner_products(&self, x: &CubeTensor) -> CubeTensor {
        let a = Block::of(&self.a);
        if !self.has_masks() {
            return product(&Block::of(x), &a.transposed(), x.dtype);
        }
        let inner = empty_of(x, [sizes(x)[0], self.inner_width()], x.dtype);
        for adapter in self.each.iter().flatten() {
            let x = masked(x, adapter.mask.as_ref());
            multiply(
                &Block::of(&inner).columns(adapter.rank.clone()),
                [
                    &Block::of(&x),
                    &a.clone().rows(adapter.rank.clone()).transposed(),
                ],
                1.0,
                &Addend::Nothing,
            );
        }
        inner
    }

    /// Writes the product of a weight's adapter and the addend to the weight's columns of the
    /// output. Does nothing where the weight has none.
    pub(super) fn add_product(
        &self,
        weight: usize,
        inner: &CubeTensor,
        output: &Block<'_>,
        addend: &Addend<'_>,
    ) {
        if let Some(adapter) = &self.each[weight] {
            let inner = Block::of(inner).columns(adapter.rank.clone());
            let operands = [&inner, &Block::of(&adapter.b).transposed()];
            multiply(output, operands, adapter.scaling, addend);
        }
    }

    /// The gradients of the inner products, `[tokens, sum of r]`, for that of the output, of which
    /// each weight has its columns.
    pub(super) fn backward_inner(
        &self,
        grad_output: &Block<'_>,
        columns: &[Range<usize>],
    ) -> CubeTensor {
        let tokens = grad_output.stored()[0];
        let gradient = empty_of(&self.a, [tokens, self.inner_width()], self.a.dtype);
        for (adapter, columns) in self.each.iter().zip(columns) {
            let Some(adapter) = adapter else { continue };
            let part = grad_output.clone().columns(columns.clone());
            multiply(
                &Block::of(&gradient).columns(adapter.rank.clone()),
                [&part, &Block::of(&adapter.b)],
                adapter.scaling,
                &Addend::Nothing,
            );
        }
        gradient
    }

    /// Writes the adapters' part of the gradient of the input.
    pub(super) fn write_grad_input(&self, grad_inner: &CubeTensor, output: &CubeTensor) {
        let a = Block::of(&self.a);
        if !self.has_masks() {
            let operands = [&Block::of(grad_inner), &a];
            return multiply(&Block::of(output), operands, 1.0, &Addend::Nothing);
        }
        for (number, adapter) in self.each.iter().flatten().enumerate() {
            let grad_inner = Block::of(grad_inner).columns(adapter.rank.clone());
            let a = a.clone().rows(adapter.rank.clone());
            match &adapter.mask {
                Some(mask) => {
                    let part = product(&grad_inner, &a, output.dtype);
                    write_masked(output, part, mask, number > 0);
                }
                None => {
                    let addend = match number {
                        0 => Addend::Nothing,
                        _ => Addend::Output,
                    };
                    multiply(&Block::of(output), [&grad_inner, &a], 1.0, &addend);
                }
            }
        }
    }

    /// The gradients of the adapters that are wanted, in f32, for the input of the products.
    pub(super) fn gradients(
        &self,
        wanted: &[LinearWeight<bool>],
        x: &CubeTensor,
        grad_inner: &CubeTensor,
        grad_output: &Block<'_>,
        columns: &[Range<usize>],
    ) -> Vec<Option<LowRankAdapter<Option<CubeTensor>>>> {
        let adapters = || wanted.iter().map(|weight| weight.adapter.as_ref());
        let wants_b = adapters().flatten().any(|adapter| adapter.b);
        let inner = wants_b.then(|| self.inner_products(x));
        let wants_every_a = adapters().flatten().all(|adapter| adapter.a);
        let grad_a = (wants_every_a && !self.has_masks() && self.rows_are_aligned()).then(|| {
            let left = Block::of(grad_inner).transposed();
            product(&left, &Block::of(x), DType::F32)
        });
        let gradients = |adapter: &Adapter, wanted: &LowRankAdapter<bool>, part: Block<'_>| {
            let rank = || adapter.rank.clone();
            let a = || match &grad_a {
                Some(all) => row_range(all, rank()),
                None => {
                    let x = masked(x, adapter.mask.as_ref());
                    let left = Block::of(grad_inner).columns(rank()).transposed();
                    product(&left, &Block::of(&x), DType::F32)
                }
            };
            let b = inner.as_ref().filter(|_| wanted.b).map(|inner| {
                let gradient = empty_of(inner, sizes(&adapter.b), DType::F32);
                let operands = [&part.transposed(), &Block::of(inner).columns(rank())];
                let output = Block::of(&gradient);
                multiply(&output, operands, adapter.scaling, &Addend::Nothing);
                gradient
            });
            LowRankAdapter {
                a: wanted.a.then(a),
                b,
                scaling: f64::from(adapter.scaling),
                mask: adapter.mask.clone(),
            }
        };
        let each = self.each.iter().zip(adapters()).zip(columns);
        each.map(|((adapter, wanted), columns)| {
            let part = grad_output.clone().columns(columns.clone());
            Some(gradients(adapter.as_ref()?, wanted?, part))
        })
        .collect()
    }

    /// Whether the gradients of A may be rows of one matrix.
    fn rows_are_aligned(&self) -> bool {
        let mut adapters = self.each.iter().flatten();
        adapters.all(|adapter| starts_aligned(&self.a, adapter.rank.start, DType::F32))
    }
}
