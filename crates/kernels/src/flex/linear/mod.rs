//! Linear layers on slices: the preparation of the input, the products side by side, their adapters
//! and the residual as one pass, forward and backward. The backward pass recomputes what is cheap
//! (the normalized or gated input, an adapter's inner product) instead of keeping it.

mod adapter;
mod input;
mod sizes;

use adapter::{backward_adapter, effective_weight, inner_product, masked, separate_adapter};
use sizes::Sizes;

use super::buffer::uninitialized;
use super::matmul::{Matrix, Output, Parallelism, Product};
use crate::linear_operands::{LinearInput, LinearOperands, LinearWeight, Operands};

/// `[tokens, out]` of all weights side by side, the residual included. There must be a token.
pub(crate) fn forward(operands: &Operands<&[f32]>, tokens: usize) -> Vec<f32> {
    let sizes = Sizes::new(operands, tokens);
    let prepared = input::prepare(&operands.input, sizes.inputs);
    let write = |weight: &LinearWeight<&[f32]>, output: Output<'_>| {
        let effective = effective_weight(weight, &sizes);
        let weight = sizes.weight(&effective).transposed();
        let input = sizes.input(&prepared.values);
        Product::new(input, weight, Parallelism::Rayon).write(output, sizes.outputs);
    };
    let mut output = match operands.residual {
        Some(residual) => {
            let mut output = residual.to_vec();
            for (column, weight) in sizes.columns(&operands.weights) {
                write(weight, Output::Accumulate(&mut output[column..]));
            }
            output
        }
        None => {
            let mut output = uninitialized(tokens * sizes.outputs);
            for (column, weight) in sizes.columns(&operands.weights) {
                write(weight, Output::Overwrite(&mut output[column..]));
            }
            // SAFETY: the weights' columns together are all columns of the output, and each
            // weight's product has written its columns of every row.
            unsafe { output.assume_init() }.into_vec()
        }
    };
    for (column, weight) in sizes.columns(&operands.weights) {
        let Some(adapter) = separate_adapter(weight, &sizes) else {
            continue;
        };
        let rank = sizes.rank(adapter);
        let inner = inner_product(adapter, &masked(&prepared.values, adapter), &sizes);
        let inner = Matrix::new(&inner, tokens, rank);
        let b = Matrix::new(adapter.b, sizes.outputs_of(weight), rank);
        Product::new(inner, b.transposed(), Parallelism::Rayon)
            .scaled(adapter.scaling as f32)
            .write(Output::Accumulate(&mut output[column..]), sizes.outputs);
    }
    output
}

/// The gradients of those operands that are wanted, but for the residual: its gradient is that of
/// the output.
pub(crate) fn backward(
    operands: &Operands<&[f32]>,
    wanted: &Operands<bool>,
    tokens: usize,
    grad_output: &[f32],
) -> Operands<Option<Vec<f32>>> {
    let sizes = Sizes::new(operands, tokens);
    let prepared = input::prepare(&operands.input, sizes.inputs);
    let wants_input = match wanted.input {
        LinearInput::Plain(x) | LinearInput::Gated(x) => x,
        LinearInput::Normalized { x, weight, .. } => x || weight,
    };
    let mut grad_prepared: Option<Vec<f32>> = None;
    let mut weights = Vec::with_capacity(operands.weights.len());
    for ((column, weight), wanted) in sizes.columns(&operands.weights).zip(&wanted.weights) {
        let outputs = sizes.outputs_of(weight);
        let grad_output = Matrix::strided(&grad_output[column..], tokens, outputs, sizes.outputs);
        let grad_weight = wanted.weight.gradient(|| {
            let input = sizes.input(&prepared.values);
            Some(Product::new(grad_output.transposed(), input, Parallelism::Rayon).to_vec())
        });
        if wants_input {
            let effective = effective_weight(weight, &sizes);
            let weight = sizes.weight(&effective);
            let part = Product::new(grad_output, weight, Parallelism::Rayon);
            match &mut grad_prepared {
                Some(sum) => part.accumulate(sum),
                None => grad_prepared = Some(part.to_vec()),
            }
        }
        let adapter = weight.adapter.as_ref().zip(wanted.adapter.as_ref());
        let adapter = adapter.map(|(adapter, wanted)| {
            // A merged adapter has its part of the input's gradient in that of the weight.
            let grad_input = grad_prepared
                .as_deref_mut()
                .filter(|_| separate_adapter(weight, &sizes).is_some());
            let input = &prepared.values;
            backward_adapter(adapter, wanted, input, grad_output, &sizes, grad_input)
        });
        weights.push(LinearWeight {
            weight: grad_weight,
            adapter,
        });
    }
    let input = match grad_prepared {
        Some(grad) => input::backward(&operands.input, &prepared, sizes.inputs, grad),
        None => operands.input.clone().map(&mut |_| None),
    };
    LinearOperands {
        input,
        weights,
        residual: operands.residual.map(|_| None),
    }
}
