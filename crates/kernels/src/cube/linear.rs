//! Linear layers on a GPU. As on flex the backward pass computes again what is cheap: the
//! normalized or gated input, an adapter's inner product, weights in the input's type.

use std::ops::Range;

use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Slice};
use burn_cubecl::kernel::into_contiguous;

use super::adapters::Adapters;
use super::cast::{cast_to_rows, joined_in_type};
use super::matmul::{Addend, Block, multiply, product};
use super::nf4::dequantize_columns;
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
/// wanted the prepared input, which one pass over the same memory computes too. `added` is added to
/// the gradient of a normalized `x`.
fn backward_input(
    input: LinearInput<CubeTensor, CubeTensor>,
    wanted: &LinearInput<bool, bool>,
    grad_prepared: CubeTensor,
    added: Option<CubeTensor>,
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
            let found = rms_norm::backward(x, weight, epsilon, grad_prepared, added, wanted);
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

/// The most bytes that weights take where they are widened for a product. In the forward pass one
/// that takes more is widened alone. Gate and up of Llama-2-7B take 180 MB, as much as what they
/// compute of 4096 tokens.
const MOST_WIDENED: usize = if cfg!(test) { 1 << 10 } else { 96 << 20 };

/// Whether a product takes another matrix than the weight's: one of the input's type.
fn is_widened(weight: &LinearWeight<CubeTensor>, dtype: DType) -> bool {
    match &weight.weight {
        WeightMatrix::Dense(weight) => weight.dtype != dtype,
        WeightMatrix::Nf4(_) => true,
    }
}

/// Which weights a product of the forward pass takes together: as many as may be widened at one
/// time, or one that is not.
fn runs(operands: &Operands<CubeTensor>) -> Vec<Range<usize>> {
    let (width, dtype) = (prepared_sizes(&operands.input)[1], operands.input.x().dtype);
    let weights = &operands.weights;
    let is_any_widened = weights.iter().any(|weight| is_widened(weight, dtype));
    let most = if is_any_widened { MOST_WIDENED } else { 0 };
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (number, weight) in weights.iter().enumerate() {
        let own = outputs(weight) * width * dtype.size();
        match runs.last_mut() {
            Some(run) if bytes + own <= most => run.end += 1,
            _ => {
                runs.push(number..number + 1);
                bytes = 0;
            }
        }
        bytes += own;
    }
    runs
}

/// These columns of weights, below each other, in a type.
fn joined(
    weights: &[LinearWeight<CubeTensor>],
    columns: Range<usize>,
    like: &CubeTensor,
) -> CubeTensor {
    let part = |weight: &CubeTensor| match columns.len() == sizes(weight)[1] {
        true => weight.clone(),
        false => {
            let slices = [Slice::from(..), Slice::from(columns.clone())];
            into_contiguous(Cube::float_slice(weight.clone(), &slices))
        }
    };
    if let [one] = weights
        && !is_widened(one, like.dtype)
    {
        return part(one.weight.dense());
    }
    let dense = weights.iter().map(|weight| dense_in_f32(weight).map(part));
    let dense: Option<Vec<_>> = dense.collect();
    let joined =
        dense.and_then(|dense| joined_in_type(&dense.iter().collect::<Vec<_>>(), like.dtype));
    if let Some(joined) = joined {
        return joined;
    }
    let rows = weights.iter().map(outputs).sum::<usize>();
    let joined = empty_of(like, [rows, columns.len()], like.dtype);
    let mut first_row = 0;
    for weight in weights {
        match &weight.weight {
            WeightMatrix::Dense(weight) => cast_to_rows(&part(weight), &joined, first_row),
            WeightMatrix::Nf4(weight) => {
                dequantize_columns(weight, columns.clone(), &joined, first_row);
            }
        }
        first_row += outputs(weight);
    }
    joined
}

/// Which columns of all weights a product of the backward pass takes together. Each such product
/// sums over all outputs, and rounds once.
fn column_runs(operands: &Operands<CubeTensor>) -> Vec<Range<usize>> {
    /// Columns that begin at multiples of so many keep the alignment of the whole matrix.
    const STEP: usize = 64;
    let (width, dtype) = (prepared_sizes(&operands.input)[1], operands.input.x().dtype);
    let rows: usize = operands.weights.iter().map(outputs).sum();
    let count = (rows * width * dtype.size()).div_ceil(MOST_WIDENED).max(1);
    let length = width.div_ceil(count).next_multiple_of(STEP);
    let starts = (0..width).step_by(length.max(1));
    starts
        .map(|start| start..width.min(start + length))
        .collect()
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
    let whole = Block::of(&gradient);
    // First, as in the forward pass.
    let mut addend = Addend::Nothing;
    if let Some((all, grad_inner)) = adapters {
        all.write_grad_input(grad_inner, &gradient);
        addend = Addend::Output;
    }
    let mut weights = operands.weights.iter();
    if weights.any(|weight| is_widened(weight, x.dtype)) {
        for run in column_runs(operands) {
            let weight = joined(&operands.weights, run.clone(), x);
            let factors = [grad_output, &Block::of(&weight)];
            multiply(&whole.clone().columns(run), factors, 1.0, &addend);
        }
        return gradient;
    }
    for (LinearWeight { weight, .. }, columns) in operands.weights.iter().zip(columns) {
        let part = grad_output.clone().columns(columns.clone());
        multiply(&whole, [&part, &Block::of(weight.dense())], 1.0, &addend);
        addend = Addend::Output;
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
        for run in runs(operands) {
            let columns = columns[run.start].start..columns[run.end - 1].end;
            let weight = joined(&operands.weights[run], 0..sizes(&input)[1], &input);
            let factors = [&x, &Block::of(&weight).transposed()];
            let part = Block::of(&output).columns(columns.clone());
            multiply(&part, factors, 1.0, &addend(columns));
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
        added: Option<CubeTensor>,
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
        // Nobody else may hold the input, for the gradient to take its memory.
        let LinearOperands {
            input,
            weights,
            residual,
        } = operands;
        let (grad_input, prepared) = match grad_prepared {
            Some(gradient) => backward_input(input, &wanted.input, gradient, added, wants_prepared),
            None => {
                let nothing = input.clone().map(&mut |_| None);
                (nothing, wants_prepared.then(|| prepare(input)))
            }
        };
        let weights = match prepared.filter(|_| wants_prepared) {
            Some(prepared) => {
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
            None => {
                let nothing = weights.into_iter();
                nothing.map(|weight| weight.map(&mut |_| None)).collect()
            }
        };
        LinearOperands {
            input: grad_input,
            weights,
            residual: residual.map(|_| None),
        }
    }
}
