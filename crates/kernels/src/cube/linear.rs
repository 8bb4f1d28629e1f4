//! Linear layers on a GPU. As on flex the backward pass recomputes what is cheap: the normalized or
//! gated input, an adapter's inner product, a half-precision weight in f32.

use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, FloatDType, Scalar, Slice};
use burn_cubecl::kernel::into_contiguous;

use super::matmul::{product, transposed};
use super::tensor::{CubeTensor, sizes};
use crate::linear_operands::{LinearInput, LinearOperands, LinearWeight, LowRankAdapter, Operands};
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

/// The gradients of the input, from that of the prepared input.
fn backward_input(
    input: LinearInput<CubeTensor, CubeTensor>,
    saved: Option<<Cube as RmsNormPasses>::Saved>,
    grad_prepared: CubeTensor,
) -> LinearInput<Option<CubeTensor>, Option<CubeTensor>> {
    match (input, saved) {
        (LinearInput::Normalized { epsilon, .. }, Some(saved)) => {
            let [x, weight] = <Cube as RmsNormPasses>::backward(saved, grad_prepared);
            LinearInput::Normalized {
                x: Some(x),
                weight: Some(weight),
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

/// A weight in f32, for one product.
fn in_f32(weight: &CubeTensor) -> CubeTensor {
    match weight.dtype {
        DType::F32 => weight.clone(),
        _ => Cube::float_cast(weight.clone(), FloatDType::F32),
    }
}

fn scaled(tensor: CubeTensor, factor: f64) -> CubeTensor {
    Cube::float_mul_scalar(tensor, Scalar::from(factor))
}

fn masked(tensor: &CubeTensor, mask: Option<&CubeTensor>) -> CubeTensor {
    match mask {
        Some(mask) => Cube::float_mul(tensor.clone(), mask.clone()),
        None => tensor.clone(),
    }
}

fn add(sum: Option<CubeTensor>, term: CubeTensor) -> CubeTensor {
    match sum {
        Some(sum) => Cube::float_add(sum, term),
        None => term,
    }
}

/// `[tokens, out]` of one weight and its adapter.
fn forward_weight(
    LinearWeight { weight, adapter }: &LinearWeight<CubeTensor>,
    input: &CubeTensor,
) -> CubeTensor {
    let output = product(input.clone(), transposed(&in_f32(weight)));
    let Some(adapter) = adapter else {
        return output;
    };
    let inner = inner_product(adapter, &masked(input, adapter.mask.as_ref()));
    Cube::float_add(output, product(inner, transposed(&adapter.b)))
}

/// `scaling * x A^T`, `[tokens, r]`.
fn inner_product(adapter: &LowRankAdapter<CubeTensor>, x: &CubeTensor) -> CubeTensor {
    scaled(product(x.clone(), transposed(&adapter.a)), adapter.scaling)
}

/// The gradients of an adapter, and of its part of the prepared input where that is wanted.
fn backward_adapter(
    adapter: &LowRankAdapter<CubeTensor>,
    wanted: &LowRankAdapter<bool>,
    input: &CubeTensor,
    grad_output: &CubeTensor,
    grad_input: Option<CubeTensor>,
) -> (LowRankAdapter<Option<CubeTensor>>, Option<CubeTensor>) {
    let x = masked(input, adapter.mask.as_ref());
    let grad_inner = scaled(
        product(grad_output.clone(), adapter.b.clone()),
        adapter.scaling,
    );
    let a = wanted
        .a
        .then(|| product(transposed(&grad_inner), x.clone()));
    let b = wanted
        .b
        .then(|| product(transposed(grad_output), inner_product(adapter, &x)));
    let grad_input = grad_input.map(|sum| {
        let part = product(grad_inner, adapter.a.clone());
        Cube::float_add(sum, masked(&part, adapter.mask.as_ref()))
    });
    let gradients = LowRankAdapter {
        a,
        b,
        scaling: adapter.scaling,
        mask: adapter.mask.as_ref().map(|_| None),
    };
    (gradients, grad_input)
}

impl LinearPasses for Cube {
    fn contiguous(tensor: CubeTensor) -> CubeTensor {
        into_contiguous(tensor)
    }

    fn forward(operands: &Operands<CubeTensor>) -> CubeTensor {
        let prepared = prepare(&operands.input);
        let mut outputs: Vec<CubeTensor> = operands
            .weights
            .iter()
            .map(|weight| forward_weight(weight, &prepared.tensor))
            .collect();
        let output = match outputs.len() {
            1 => outputs.remove(0),
            _ => Cube::float_cat(outputs, 1),
        };
        match &operands.residual {
            Some(residual) => Cube::float_add(output, residual.clone()),
            None => output,
        }
    }

    fn backward(
        operands: Operands<CubeTensor>,
        wanted: &Operands<bool>,
        grad_output: CubeTensor,
    ) -> Operands<Option<CubeTensor>> {
        let PreparedInput { tensor, saved } = prepare(&operands.input);
        let wants_input = match wanted.input {
            LinearInput::Plain(x) | LinearInput::Gated(x) => x,
            LinearInput::Normalized { x, weight, .. } => x || weight,
        };
        let [tokens, _] = sizes(&grad_output);
        let mut grad_prepared: Option<CubeTensor> = None;
        let mut weights = Vec::with_capacity(operands.weights.len());
        let mut column = 0;
        for (LinearWeight { weight, adapter }, wanted) in
            operands.weights.iter().zip(&wanted.weights)
        {
            let [outputs, _] = sizes(weight);
            let columns = Slice::from(column..column + outputs);
            column += outputs;
            let rows = Slice::from(0..tokens);
            let part = Cube::float_slice(grad_output.clone(), &[rows, columns]);
            let part = into_contiguous(part);
            let grad_weight = wanted
                .weight
                .then(|| product(transposed(&part), tensor.clone()));
            if wants_input {
                let product = product(part.clone(), in_f32(weight));
                grad_prepared = Some(add(grad_prepared, product));
            }
            let adapter = adapter.as_ref().zip(wanted.adapter.as_ref());
            let adapter = adapter.map(|(adapter, wanted)| {
                let sum = grad_prepared.take();
                let (gradients, sum) = backward_adapter(adapter, wanted, &tensor, &part, sum);
                grad_prepared = sum;
                gradients
            });
            weights.push(LinearWeight {
                weight: grad_weight,
                adapter,
            });
        }
        let input = match grad_prepared {
            Some(gradient) => backward_input(operands.input, saved, gradient),
            None => operands.input.map(&mut |_| None),
        };
        LinearOperands {
            input,
            weights,
            residual: operands.residual.map(|_| None),
        }
    }
}
