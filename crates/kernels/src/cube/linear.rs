//! Linear layers on a GPU. As on flex the backward pass recomputes what is cheap: the normalized or
//! gated input, an adapter's inner product, weights in the input's type.

use std::ops::Range;

use burn::backend::Cube;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;

use super::cast::{all_in_type, cast_to_rows};
use super::dropout::{masked, write_masked};
use super::matmul::{Addend, Block, multiply, product};
use super::nf4::dequantize_to_rows;
use super::tensor::{CubeTensor, empty_of, sizes};
use crate::linear_operands::{
    LinearInput, LinearOperands, LinearWeight, LowRankAdapter, Operands, WeightMatrix,
};
use crate::operations::linear::LinearPasses;
use crate::operations::rms_norm::RmsNormPasses;
use crate::operations::swiglu::SwigluPasses;

/// An input ready for the product, and what its own backward pass needs.
struct PreparedInput {
    /// `[tokens, in]`.
    tensor: CubeTensor,
    /// Where normalized.
    saved: Option<<Cube as RmsNormPasses>::Saved>,
}

fn prepare(input: &LinearInput<CubeTensor, CubeTensor>) -> PreparedInput {
    match input.clone() {
        LinearInput::Plain(x) => PreparedInput {
            tensor: x,
            saved: None,
        },
        LinearInput::Normalized { x, weight, epsilon } => {
            let (tensor, saved) = <Cube as RmsNormPasses>::forward(x, weight, epsilon);
            PreparedInput {
                tensor,
                saved: Some(saved),
            }
        }
        LinearInput::Gated(gate_up) => PreparedInput {
            tensor: <Cube as SwigluPasses>::forward(gate_up),
            saved: None,
        },
    }
}

/// The gradients of the input that are wanted, from that of the prepared input.
fn backward_input(
    input: LinearInput<CubeTensor, CubeTensor>,
    wanted: &LinearInput<bool, bool>,
    saved: Option<<Cube as RmsNormPasses>::Saved>,
    grad_prepared: CubeTensor,
) -> LinearInput<Option<CubeTensor>, Option<CubeTensor>> {
    match (input, saved) {
        (LinearInput::Normalized { epsilon, .. }, Some(saved)) => {
            let wants_weight = matches!(wanted, LinearInput::Normalized { weight: true, .. });
            let (x, weight) = <Cube as RmsNormPasses>::backward(saved, grad_prepared, wants_weight);
            LinearInput::Normalized {
                x: Some(x),
                weight,
                epsilon,
            }
        }
        (LinearInput::Gated(gate_up), _) => {
            let gradient = <Cube as SwigluPasses>::backward(gate_up, grad_prepared);
            LinearInput::Gated(Some(gradient))
        }
        _ => LinearInput::Plain(Some(grad_prepared)),
    }
}

/// The weights below each other in the type of the products, where one of them is of another type
/// or in NF4. `input` is the prepared input.
fn joined_weights(operands: &Operands<CubeTensor>, input: &CubeTensor) -> Option<CubeTensor> {
    let is_other = |weight: &LinearWeight<CubeTensor>| match &weight.weight {
        WeightMatrix::Dense(weight) => weight.dtype != input.dtype,
        WeightMatrix::Nf4(_) => true,
    };
    if !operands.weights.iter().any(is_other) {
        return None;
    }
    let rows = operands.weights.iter().map(outputs).sum::<usize>();
    let joined = empty_of(input, [rows, sizes(input)[1]], input.dtype);
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

fn outputs(weight: &LinearWeight<CubeTensor>) -> usize {
    match &weight.weight {
        WeightMatrix::Dense(weight) => sizes(weight)[0],
        WeightMatrix::Nf4(weight) => weight.shape()[0],
    }
}

/// The adapters of the weights with matrices in the type of the products, which trained ones are
/// not in.
fn adapters_in_type(
    weights: &[LinearWeight<CubeTensor>],
    dtype: DType,
) -> Vec<Option<LowRankAdapter<CubeTensor>>> {
    let adapters = weights.iter().filter_map(|weight| weight.adapter.as_ref());
    let matrices = adapters.flat_map(|adapter| [&adapter.a, &adapter.b]);
    let mut found = all_in_type(matrices, dtype).into_iter();
    let mut next = || found.next().expect("as many matrices as before");
    let mut in_type = |adapter: &LowRankAdapter<CubeTensor>| LowRankAdapter {
        a: next(),
        b: next(),
        scaling: adapter.scaling,
        mask: adapter.mask.clone(),
    };
    let adapters = weights.iter().map(|weight| weight.adapter.as_ref());
    adapters.map(|adapter| adapter.map(&mut in_type)).collect()
}

/// Adds an adapter's product to that of its weight. Adapter and input are of one type.
fn forward_adapter(adapter: &LowRankAdapter<CubeTensor>, input: &CubeTensor, output: &Block<'_>) {
    let inner = inner_product(adapter, &masked(input, adapter.mask.as_ref()));
    let operands = [&Block::of(&inner), &Block::of(&adapter.b).transposed()];
    multiply(output, operands, 1.0, &Addend::Output);
}

/// `scaling * x A^T`, `[tokens, r]`.
fn inner_product(adapter: &LowRankAdapter<CubeTensor>, x: &CubeTensor) -> CubeTensor {
    let a = &adapter.a;
    let inner = empty_of(x, [sizes(x)[0], sizes(a)[0]], x.dtype);
    let operands = [&Block::of(x), &Block::of(a).transposed()];
    multiply(
        &Block::of(&inner),
        operands,
        adapter.scaling as f32,
        &Addend::Nothing,
    );
    inner
}

/// The gradient of the prepared input, as the weights add to it.
struct GradPrepared {
    tensor: CubeTensor,
    is_empty: bool,
}

impl GradPrepared {
    fn add(&mut self, left: &Block<'_>, right: &Block<'_>) {
        let addend = match std::mem::take(&mut self.is_empty) {
            true => Addend::Nothing,
            false => Addend::Output,
        };
        multiply(&Block::of(&self.tensor), [left, right], 1.0, &addend);
    }
}

/// The gradients of an adapter, which is of the input's type; adds its part to the gradient of the
/// prepared input where that is wanted.
fn backward_adapter(
    adapter: &LowRankAdapter<CubeTensor>,
    wanted: &LowRankAdapter<bool>,
    input: &CubeTensor,
    grad_output: &Block<'_>,
    grad_prepared: Option<&mut GradPrepared>,
) -> LowRankAdapter<Option<CubeTensor>> {
    let x = masked(input, adapter.mask.as_ref());
    let [tokens, inputs] = sizes(&x);
    let (a, b) = (&adapter.a, &adapter.b);
    let grad_inner = empty_of(&x, [tokens, sizes(a)[0]], x.dtype);
    multiply(
        &Block::of(&grad_inner),
        [grad_output, &Block::of(b)],
        adapter.scaling as f32,
        &Addend::Nothing,
    );
    let grad_a = || {
        product(
            &Block::of(&grad_inner).transposed(),
            &Block::of(&x),
            DType::F32,
        )
    };
    let grad_b = || {
        let inner = inner_product(adapter, &x);
        product(
            &grad_output.clone().transposed(),
            &Block::of(&inner),
            DType::F32,
        )
    };
    let gradients = LowRankAdapter {
        a: wanted.a.then(grad_a),
        b: wanted.b.then(grad_b),
        scaling: adapter.scaling,
        mask: adapter.mask.clone(),
    };
    match (grad_prepared, &adapter.mask) {
        (Some(sum), None) => sum.add(&Block::of(&grad_inner), &Block::of(a)),
        (Some(sum), Some(mask)) => {
            let part = product(&Block::of(&grad_inner), &Block::of(a), x.dtype);
            debug_assert_eq!(sizes(&part), [tokens, inputs]);
            write_masked(&sum.tensor, part, mask, !sum.is_empty);
            sum.is_empty = false;
        }
        (None, _) => {}
    }
    gradients
}

/// The gradients of the weights, in f32. Where all are wanted they are rows of one matrix, unless
/// one would begin where the device allows no tensor to begin.
fn backward_weights(
    wanted: &Operands<bool>,
    columns: Vec<Range<usize>>,
    grad_output: &Block<'_>,
    input: &CubeTensor,
) -> Vec<Option<CubeTensor>> {
    let x = Block::of(input);
    let gradient = |part: Block<'_>| product(&part.transposed(), &x, DType::F32);
    let is_wanted =
        |weight: &LinearWeight<bool>| matches!(weight.weight, WeightMatrix::Dense(true));
    let wanted: Vec<bool> = wanted.weights.iter().map(is_wanted).collect();
    let row_bytes = sizes(input)[1] * size_of::<f32>();
    let alignment = input.client.properties().memory.alignment as usize;
    let are_aligned = columns
        .iter()
        .all(|rows| (rows.start * row_bytes).is_multiple_of(alignment));
    if wanted.len() > 1 && wanted.iter().all(|&wanted| wanted) && are_aligned {
        let all = gradient(grad_output.clone());
        let rows = |rows: Range<usize>| Some(row_range(&all, rows));
        return columns.into_iter().map(rows).collect();
    }
    let parts = wanted.into_iter().zip(columns);
    parts
        .map(|(wanted, columns)| wanted.then(|| gradient(grad_output.clone().columns(columns))))
        .collect()
}

/// The rows of a contiguous matrix, without a copy.
fn row_range(matrix: &CubeTensor, rows: Range<usize>) -> CubeTensor {
    let width = sizes(matrix)[1];
    let start = (rows.start * width * matrix.dtype.size()) as u64;
    let mut handle = matrix.handle.clone();
    handle.offset_start = Some(handle.offset_start.unwrap_or(0) + start);
    CubeTensor::new_contiguous(
        matrix.client.clone(),
        matrix.device.clone(),
        Shape::new([rows.len(), width]),
        handle,
        matrix.dtype,
    )
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

impl LinearPasses for Cube {
    fn contiguous(tensor: CubeTensor) -> CubeTensor {
        into_contiguous(tensor)
    }

    fn forward(operands: &Operands<CubeTensor>) -> CubeTensor {
        let input = prepare(&operands.input).tensor;
        let columns = columns(&operands.weights);
        let width = columns.last().map_or(0, |columns| columns.end);
        let output = empty_of(&input, [sizes(&input)[0], width], input.dtype);
        let residual = operands.residual.as_ref();
        let residual = |columns: Range<usize>| match residual {
            Some(residual) => Addend::Block(Block::of(residual).columns(columns)),
            None => Addend::Nothing,
        };
        let x = Block::of(&input);
        let joined = joined_weights(operands, &input);
        if let Some(weight) = &joined {
            let operands = [&x, &Block::of(weight).transposed()];
            multiply(&Block::of(&output), operands, 1.0, &residual(0..width));
        }
        let adapters = adapters_in_type(&operands.weights, input.dtype);
        let weights = operands.weights.iter().zip(adapters);
        for ((LinearWeight { weight, .. }, adapter), columns) in weights.zip(columns) {
            let part = Block::of(&output).columns(columns.clone());
            if joined.is_none() {
                let operands = [&x, &Block::of(weight.dense()).transposed()];
                multiply(&part, operands, 1.0, &residual(columns));
            }
            if let Some(adapter) = adapter {
                forward_adapter(&adapter, &input, &part);
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
        let PreparedInput { tensor, saved } = prepare(&operands.input);
        let wants_input = match wanted.input {
            LinearInput::Plain(x) | LinearInput::Gated(x) => x,
            LinearInput::Normalized { x, weight, .. } => x || weight,
        };
        let mut grad_prepared = wants_input.then(|| GradPrepared {
            tensor: empty_of(&tensor, sizes(&tensor), tensor.dtype),
            is_empty: true,
        });
        let whole = Block::of(&grad_output);
        let joined = wants_input.then(|| joined_weights(&operands, &tensor));
        let joined = joined.flatten();
        if let (Some(sum), Some(weight)) = (&mut grad_prepared, &joined) {
            sum.add(&whole, &Block::of(weight));
        }
        let mut grad_weights =
            backward_weights(wanted, columns(&operands.weights), &whole, &tensor).into_iter();
        let mut weights = Vec::with_capacity(operands.weights.len());
        let columns = columns(&operands.weights).into_iter();
        let adapters = adapters_in_type(&operands.weights, tensor.dtype);
        let parts = columns.zip(adapters).zip(&wanted.weights);
        for (LinearWeight { weight, .. }, ((columns, adapter), wanted)) in
            operands.weights.iter().zip(parts)
        {
            let grad_weight = grad_weights.next().flatten();
            let part = whole.clone().columns(columns);
            if let (Some(sum), None) = (&mut grad_prepared, &joined) {
                sum.add(&part, &Block::of(weight.dense()));
            }
            let adapter = adapter.zip(wanted.adapter.as_ref());
            let adapter = adapter.map(|(adapter, wanted)| {
                backward_adapter(&adapter, wanted, &tensor, &part, grad_prepared.as_mut())
            });
            weights.push(LinearWeight {
                weight: wanted.weight.gradient(|| grad_weight),
                adapter,
            });
        }
        let input = match grad_prepared {
            Some(gradient) => backward_input(operands.input, &wanted.input, saved, gradient.tensor),
            None => operands.input.map(&mut |_| None),
        };
        LinearOperands {
            input,
            weights,
            residual: operands.residual.map(|_| None),
        }
    }
}
