//! Linear layers on a GPU. As on flex the backward pass computes again what is cheap: the
//! normalized or gated input, an adapter's inner product, weights in the input's type.

use std::ops::Range;

use burn::backend::Cube;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;

use super::adapters::Adapters;
use super::cast::{cast_to_rows, joined_in_type};
use super::matmul::{Addend, Block, multiply, product};
use super::nf4::dequantize_to_rows;
use super::tensor::{CubeTensor, empty_of, row_range, sizes, starts_aligned};
use super::{rms_norm, swiglu};
use crate::linear_operands::{LinearInput, LinearOperands, LinearWeight, Operands, WeightMatrix};
use crate::operations::linear::LinearPasses;
use crate::operations::rms_norm::RmsNormPasses;
use crate::operations::swiglu::SwigluPasses;

/// The input as the products take it, `[tokens, in]`.
fn prepare(input: LinearInput<CubeTensor, CubeTensor>) -> CubeTensor {
    match input {
        LinearInput::Plain(x) => x,
        LinearInput::Normalized { x, weight, epsilon } => {
            <Cube as RmsNormPasses>::forward(x, weight, epsilon).0
        }
        LinearInput::Gated(gate_up) => <Cube as SwigluPasses>::forward(gate_up),
    }
}

/// The gradients of the input that are wanted, from that of the prepared input, and where it is
/// wanted the prepared input, which one pass over the same memory computes too.
fn backward_input(
    input: LinearInput<CubeTensor, CubeTensor>,
    wanted: &LinearInput<bool, bool>,
    grad_prepared: CubeTensor,
    wants_prepared: bool,
) -> (
    LinearInput<Option<CubeTensor>, Option<CubeTensor>>,
    Option<CubeTensor>,
) {
    match input {
        LinearInput::Plain(x) => (LinearInput::Plain(Some(grad_prepared)), Some(x)),
        LinearInput::Normalized { x, weight, epsilon } => {
            let wanted = rms_norm::Wanted {
                output: wants_prepared,
                grad_weight: matches!(wanted, LinearInput::Normalized { weight: true, .. }),
            };
            let found = rms_norm::backward(x, weight, epsilon, grad_prepared, wanted);
            let gradients = LinearInput::Normalized {
                x: Some(found.grad_x),
                weight: found.grad_weight,
                epsilon,
            };
            (gradients, found.output)
        }
        LinearInput::Gated(gate_up) => {
            let (gradient, output) = swiglu::backward(gate_up, grad_prepared, wants_prepared);
            (LinearInput::Gated(Some(gradient)), output)
        }
    }
}

/// Tokens and width of the prepared input.
fn prepared_sizes(input: &LinearInput<CubeTensor, CubeTensor>) -> [usize; 2] {
    let [tokens, width] = sizes(input.x());
    match input {
        LinearInput::Plain(_) | LinearInput::Normalized { .. } => [tokens, width],
        LinearInput::Gated(_) => [tokens, width / 2],
    }
}

/// The weights below each other in the type of the input, where one of them is of another type or
/// in NF4.
fn joined_weights(operands: &Operands<CubeTensor>) -> Option<CubeTensor> {
    let input = operands.input.x();
    let is_other = |weight: &LinearWeight<CubeTensor>| match &weight.weight {
        WeightMatrix::Dense(weight) => weight.dtype != input.dtype,
        WeightMatrix::Nf4(_) => true,
    };
    if !operands.weights.iter().any(is_other) {
        return None;
    }
    let dense: Option<Vec<_>> = operands.weights.iter().map(dense_in_f32).collect();
    if let Some(dense) = dense {
        return joined_in_type(&dense, input.dtype);
    }
    let rows = operands.weights.iter().map(outputs).sum::<usize>();
    let width = prepared_sizes(&operands.input)[1];
    let joined = empty_of(input, [rows, width], input.dtype);
    let mut first_row = 0;
    for weight in &operands.weights {
        match &weight.weight {
            WeightMatrix::Dense(weight) => cast_to_rows(weight, &joined, first_row),
            WeightMatrix::Nf4(weight) => dequantize_to_rows(weight, &joined, first_row),
        }
        first_row += outputs(weight);
    }
    Some(joined)
}

/// The matrix of a weight in f32, as one that is trained is.
fn dense_in_f32(weight: &LinearWeight<CubeTensor>) -> Option<&CubeTensor> {
    match &weight.weight {
        WeightMatrix::Dense(weight) => Some(weight).filter(|weight| weight.dtype == DType::F32),
        WeightMatrix::Nf4(_) => None,
    }
}

fn outputs(weight: &LinearWeight<CubeTensor>) -> usize {
    match &weight.weight {
        WeightMatrix::Dense(weight) => sizes(weight)[0],
        WeightMatrix::Nf4(weight) => weight.shape()[0],
    }
}

/// The gradients of the weights, in f32. Where all are wanted they are rows of one matrix, unless
/// one would begin where the device allows no tensor to begin.
fn backward_weights(
    wanted: &Operands<bool>,
    columns: &[Range<usize>],
    grad_output: &Block<'_>,
    input: &CubeTensor,
) -> Vec<Option<CubeTensor>> {
    let x = Block::of(input);
    let gradient = |part: Block<'_>| product(&part.transposed(), &x, DType::F32);
    let is_wanted =
        |weight: &LinearWeight<bool>| matches!(weight.weight, WeightMatrix::Dense(true));
    let wanted: Vec<bool> = wanted.weights.iter().map(is_wanted).collect();
    let mut starts = columns.iter().map(|rows| rows.start);
    let are_aligned = starts.all(|start| starts_aligned(input, start, DType::F32));
    if wanted.len() > 1 && wanted.iter().all(|&wanted| wanted) && are_aligned {
        let all = gradient(grad_output.clone());
        let rows = |rows: &Range<usize>| Some(row_range(&all, rows.clone()));
        return columns.iter().map(rows).collect();
    }
    let parts = wanted.into_iter().zip(columns);
    parts
        .map(|(wanted, columns)| {
            wanted.then(|| gradient(grad_output.clone().columns(columns.clone())))
        })
        .collect()
}

/// The columns of each weight in the output.
fn columns(weights: &[LinearWeight<CubeTensor>]) -> Vec<Range<usize>> {
    let mut end = 0;
    weights
        .iter()
        .map(outputs)
        .map(|width| {
            end += width;
            end - width..end
        })
        .collect()
}

/// Whether a gradient of the weight or of its adapter is wanted.
fn wants_gradient(wanted: &LinearWeight<bool>) -> bool {
    let mut adapters = wanted.adapter.iter();
    matches!(wanted.weight, WeightMatrix::Dense(true)) || adapters.any(|each| each.a || each.b)
}

/// The gradient of the prepared input. `adapters` come with the gradient of their inner products.
fn backward_prepared(
    operands: &Operands<CubeTensor>,
    adapters: Option<(&Adapters, &CubeTensor)>,
    grad_output: &Block<'_>,
    columns: &[Range<usize>],
) -> CubeTensor {
    let x = operands.input.x();
    let gradient = empty_of(x, prepared_sizes(&operands.input), x.dtype);
    let mut is_empty = true;
    // First, as in the forward pass.
    if let Some((all, grad_inner)) = adapters {
        all.write_grad_input(grad_inner, &gradient);
        is_empty = false;
    }
    let mut add = |part: &Block<'_>, weight: &CubeTensor| {
        let addend = match std::mem::take(&mut is_empty) {
            true => Addend::Nothing,
            false => Addend::Output,
        };
        let operands = [part, &Block::of(weight)];
        multiply(&Block::of(&gradient), operands, 1.0, &addend);
    };
    match joined_weights(operands) {
        Some(weight) => add(grad_output, &weight),
        None => {
            for (LinearWeight { weight, .. }, columns) in operands.weights.iter().zip(columns) {
                let part = grad_output.clone().columns(columns.clone());
                add(&part, weight.dense());
            }
        }
    }
    gradient
}

impl LinearPasses for Cube {
    fn contiguous(tensor: CubeTensor) -> CubeTensor {
        into_contiguous(tensor)
    }

    fn forward(operands: &Operands<CubeTensor>) -> CubeTensor {
        let input = prepare(operands.input.clone());
        let columns = columns(&operands.weights);
        let width = columns.last().map_or(0, |columns| columns.end);
        let output = empty_of(&input, [sizes(&input)[0], width], input.dtype);
        let residual = |columns: Range<usize>| match &operands.residual {
            Some(residual) => Addend::Block(Block::of(residual).columns(columns)),
            None => Addend::Nothing,
        };
        let adapters = Adapters::new(&operands.weights, input.dtype);
        let inner = adapters.as_ref().map(|all| all.inner_products(&input));
        let adapters = adapters.as_ref().zip(inner.as_ref());
        // Thin products write as much as wide ones and compute little. What they wrote is added by
        // the wide ones, whose memory accesses hide behind their arithmetic.
        let are_first = adapters.is_some_and(|(all, _)| all.are_everywhere());
        if let Some((all, inner)) = adapters.filter(|_| are_first) {
            for (number, columns) in columns.iter().enumerate() {
                let part = Block::of(&output).columns(columns.clone());
                all.add_product(number, inner, &part, &residual(columns.clone()));
            }
        }
        let addend = |columns: Range<usize>| match are_first {
            true => Addend::Output,
            false => residual(columns),
        };
        let x = Block::of(&input);
        if let Some(weight) = joined_weights(operands) {
            let operands = [&x, &Block::of(&weight).transposed()];
            multiply(&Block::of(&output), operands, 1.0, &addend(0..width));
        } else {
            for (LinearWeight { weight, .. }, columns) in operands.weights.iter().zip(&columns) {
                let part = Block::of(&output).columns(columns.clone());
                let operands = [&x, &Block::of(weight.dense()).transposed()];
                multiply(&part, operands, 1.0, &addend(columns.clone()));
            }
        }
        if let Some((all, inner)) = adapters.filter(|_| !are_first) {
            for (number, columns) in columns.iter().enumerate() {
                let part = Block::of(&output).columns(columns.clone());
                all.add_product(number, inner, &part, &Addend::Output);
            }
        }
        output
    }

    fn backward(
        operands: Operands<CubeTensor>,
        wanted: &Operands<bool>,
        grad_output: CubeTensor,
    ) -> Operands<Option<CubeTensor>> {
        let grad_output = into_contiguous(grad_output);
        let whole = Block::of(&grad_output);
        let columns = columns(&operands.weights);
        let dtype = operands.input.x().dtype;
        let adapters = Adapters::new(&operands.weights, dtype);
        let grad_inner = adapters
            .as_ref()
            .map(|all| all.backward_inner(&whole, &columns));
        let adapters = adapters.as_ref().zip(grad_inner.as_ref());

        let wants_input = match wanted.input {
            LinearInput::Plain(x) | LinearInput::Gated(x) => x,
            LinearInput::Normalized { x, weight, .. } => x || weight,
        };
        let wants_prepared = wanted.weights.iter().any(wants_gradient);
        let grad_prepared =
            wants_input.then(|| backward_prepared(&operands, adapters, &whole, &columns));
        let (input, prepared) = match grad_prepared {
            Some(gradient) => {
                let input = operands.input.clone();
                backward_input(input, &wanted.input, gradient, wants_prepared)
            }
            None => (operands.input.clone().map(&mut |_| None), None),
        };
        let weights = match wants_prepared {
            true => {
                let prepared = prepared.unwrap_or_else(|| prepare(operands.input));
                let dense = backward_weights(wanted, &columns, &whole, &prepared);
                let adapters = match adapters {
                    Some((all, grad_inner)) => {
                        let wanted = &wanted.weights;
                        all.gradients(wanted, &prepared, grad_inner, &whole, &columns)
                    }
                    None => dense.iter().map(|_| None).collect(),
                };
                let found = dense.into_iter().zip(adapters).zip(&wanted.weights);
                found
                    .map(|((dense, adapter), wanted)| LinearWeight {
                        weight: wanted.weight.gradient(|| dense),
                        adapter,
                    })
                    .collect()
            }
            false => operands
                .weights
                .into_iter()
                .map(|weight| weight.map(&mut |_| None))
                .collect(),
        };
        LinearOperands {
            input,
            weights,
            residual: operands.residual.map(|_| None),
        }
    }
}
