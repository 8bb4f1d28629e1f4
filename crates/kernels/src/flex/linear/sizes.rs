//! Sizes of a linear layer's product.

use crate::flex::matmul::Matrix;
use crate::linear_operands::{LinearInput, LinearWeight, LowRankAdapter, Operands};

/// Sizes of a product.
pub(super) struct Sizes {
    pub(super) tokens: usize,
    pub(super) inputs: usize,
    /// Of all weights together.
    pub(super) outputs: usize,
}

impl Sizes {
    /// Of operands with at least one token.
    pub(super) fn new(operands: &Operands<&[f32]>, tokens: usize) -> Self {
        let width = operands.input.x().len() / tokens;
        let inputs = match operands.input {
            LinearInput::Gated(_) => width / 2,
            _ => width,
        };
        let elements: usize = operands
            .weights
            .iter()
            .map(|w| w.weight.dense().len())
            .sum();
        Self {
            tokens,
            inputs,
            outputs: elements / inputs,
        }
    }

    /// Outputs of one weight.
    pub(super) fn outputs_of(&self, weight: &LinearWeight<&[f32]>) -> usize {
        weight.weight.dense().len() / self.inputs
    }

    pub(super) fn rank(&self, adapter: &LowRankAdapter<&[f32]>) -> usize {
        adapter.a.len() / self.inputs
    }

    /// The weights, and the column of the output where the product of each begins.
    pub(super) fn columns<'a, 'w>(
        &self,
        weights: &'w [LinearWeight<&'a [f32]>],
    ) -> impl Iterator<Item = (usize, &'w LinearWeight<&'a [f32]>)> {
        weights.iter().scan(0, |column, weight| {
            let start = *column;
            *column += self.outputs_of(weight);
            Some((start, weight))
        })
    }

    /// A matrix `[tokens, in]`.
    pub(super) fn input<'a>(&self, values: &'a [f32]) -> Matrix<'a> {
        Matrix::new(values, self.tokens, self.inputs)
    }

    /// A matrix `[out, in]`.
    pub(super) fn weight<'a>(&self, values: &'a [f32]) -> Matrix<'a> {
        Matrix::new(values, values.len() / self.inputs, self.inputs)
    }
}
