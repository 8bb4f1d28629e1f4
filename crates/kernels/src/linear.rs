//! Linear layers of a Llama: several weights side by side with their adapters, the norm or gate
//! before them and the residual after them.

use burn::tensor::{DType, FloatDType, Gradients, Tensor};

use crate::dequantize::dequantize_reference;
use crate::half_precision::{is_half, rounded};
use crate::linear_operands::{
    LinearInput, LinearOperands, LinearWeight, LowRankAdapter, WeightMatrix,
};
use crate::operations::{self, linear::MAX_WEIGHTS};
use crate::rms_norm::{rms_norm, rms_norm_reference};
use crate::swiglu::{swiglu, swiglu_reference};

/// A linear layer: `[tokens, sum of out]`, the products of its weights side by side, with low-rank
/// adapters and residual included.
///
/// On flex and on a GPU this is one operation of the graph, which computes no gradient for a tensor
/// that needs none (a frozen weight, the input of a model's first layer). Elsewhere it is
/// [`linear_reference`].
///
/// An input in half precision gives an output of its type. Its operands are multiplied in that type
/// and added in f32.
///
/// # Panics
///
/// Where there is no weight or more than three, where a weight in half precision needs a gradient,
/// or where a weight, a part of an adapter, the norm or the residual does not fit the input's
/// shape. Each is a bug of the caller.
pub fn linear(operands: LinearOperands) -> Tensor<2> {
    check(&operands);
    let x = operands.input.x();
    let has_kernels = operations::has_kernels(x);
    if is_half(x) && !has_kernels {
        return half_precision(operands);
    }
    if !has_kernels || x.dims().contains(&0) {
        return linear_reference(operands);
    }
    operations::linear::linear(operands.into_dispatch())
}

/// The gradients of `sum(linear(operands) * grad_output)`: the backward pass of a layer whose
/// output nobody needs, as in activation checkpointing. Where there are kernels for the device the
/// output is not computed.
///
/// `grad_output` is `[tokens, sum of out]`, of the output's type and without a graph.
///
/// # Panics
///
/// As [`linear`], where the gradient has another shape or type, and where no operand needs a
/// gradient.
pub fn linear_gradients(operands: LinearOperands, grad_output: Tensor<2>) -> Gradients {
    let width = check(&operands);
    let x = operands.input.x();
    let expected: [usize; 2] = [x.dims()[0], width];
    assert_eq!(grad_output.dims(), expected, "the output's gradient");
    assert_eq!(grad_output.dtype(), x.dtype(), "the output's gradient");
    if !operations::has_kernels(x) || x.dims().contains(&0) {
        return linear_gradients_reference(operands, grad_output);
    }
    let grad_output = grad_output.autodiff().into_dispatch();
    operations::linear::uncomputed(operands.into_dispatch(), grad_output).backward()
}

/// [`linear_gradients`] by computing the output.
pub fn linear_gradients_reference(operands: LinearOperands, grad_output: Tensor<2>) -> Gradients {
    (linear(operands) * grad_output.autodiff()).sum().backward()
}

/// [`linear`] of an input in half precision: the prepared input, weights and adapters are rounded
/// to its type, then multiplied and added in f32, the residual included, and the output is rounded
/// once.
fn half_precision(operands: LinearOperands) -> Tensor<2> {
    let half = FloatDType::from(operands.input.x().dtype());
    let wide = |x: Tensor<2>| x.cast(FloatDType::F32);
    let prepared = match operands.input {
        LinearInput::Plain(x) => wide(x),
        LinearInput::Normalized { x, weight, epsilon } => {
            rounded(rms_norm(wide(x), weight, epsilon), half)
        }
        LinearInput::Gated(x) => rounded(swiglu(wide(x)), half),
    };
    let weights = operands
        .weights
        .into_iter()
        .map(|LinearWeight { weight, adapter }| {
            let weight = match weight {
                // A frozen weight in half precision has such elements already.
                WeightMatrix::Dense(weight) if is_half(&weight) => weight.into(),
                WeightMatrix::Dense(weight) => rounded(weight, half).into(),
                WeightMatrix::Nf4(weight) => WeightMatrix::Nf4(weight.rounded_to(half)),
            };
            let adapter = adapter.map(|adapter| LowRankAdapter {
                a: rounded(adapter.a, half),
                b: rounded(adapter.b, half),
                ..adapter
            });
            LinearWeight { weight, adapter }
        });
    let output = linear(LinearOperands {
        input: LinearInput::Plain(prepared),
        weights: weights.collect(),
        residual: operands.residual.map(wide),
    });
    output.cast(half)
}

/// Checks the operands, and returns the width of the output.
fn check(operands: &LinearOperands) -> usize {
    assert!(
        (1..=MAX_WEIGHTS).contains(&operands.weights.len()),
        "a linear layer has one to three weights, not {}",
        operands.weights.len()
    );
    let [tokens, inputs] = match &operands.input {
        LinearInput::Plain(x) => x.dims(),
        LinearInput::Normalized { x, weight, .. } => {
            let [tokens, inputs] = x.dims();
            assert_eq!(weight.dims(), [inputs], "the norm's weight: [in]");
            [tokens, inputs]
        }
        LinearInput::Gated(x) => {
            let [tokens, width] = x.dims();
            assert!(
                width.is_multiple_of(2),
                "gate and up side by side have an even width, not {width}"
            );
            [tokens, width / 2]
        }
    };
    for LinearWeight { weight, adapter } in &operands.weights {
        if let WeightMatrix::Dense(weight) = weight {
            assert!(
                weight.dtype() == DType::F32 || !weight.is_tracked(),
                "a weight in half precision cannot have a gradient"
            );
        }
        let [outputs, width] = weight.dims();
        assert_eq!(width, inputs, "a weight's width and its input's");
        let Some(LowRankAdapter { a, b, mask, .. }) = adapter else {
            continue;
        };
        let [rank, width] = a.dims();
        assert!(rank > 0, "an adapter's rank is at least 1");
        assert_eq!(width, inputs, "an adapter's width and its input's");
        assert_eq!(b.dims(), [outputs, rank], "an adapter's B: [out, r]");
        if let Some(mask) = mask {
            assert_eq!(mask.tokens(), tokens, "a mask's tokens and the input's");
        }
    }
    let outputs = operands.weights.iter().map(|w| w.weight.dims()[0]).sum();
    if let Some(residual) = &operands.residual {
        let expected: [usize; 2] = [tokens, outputs];
        assert_eq!(residual.dims(), expected, "the residual: [tokens, out]");
    }
    outputs
}

/// [`linear`] as a chain of Burn operations.
pub fn linear_reference(operands: LinearOperands) -> Tensor<2> {
    let x = match operands.input {
        LinearInput::Plain(x) => x,
        LinearInput::Normalized { x, weight, epsilon } => rms_norm_reference(x, weight, epsilon),
        LinearInput::Gated(x) => swiglu_reference(x),
    };
    let product = |LinearWeight { weight, adapter }: LinearWeight| {
        let weight = match weight {
            WeightMatrix::Dense(weight) => weight,
            WeightMatrix::Nf4(weight) if x.is_autodiff() => {
                dequantize_reference(&weight).autodiff()
            }
            WeightMatrix::Nf4(weight) => dequantize_reference(&weight),
        };
        let weight = weight.cast(FloatDType::from(x.dtype()));
        let product = x.clone().matmul(weight.transpose());
        let Some(adapter) = adapter else {
            return product;
        };
        let x = match adapter.mask {
            Some(mask) => x.clone() * mask.to_tensor(x.dims()[1], &x.device()),
            None => x.clone(),
        };
        let inner = x.matmul(adapter.a.transpose()).mul_scalar(adapter.scaling);
        product + inner.matmul(adapter.b.transpose())
    };
    let mut products: Vec<Tensor<2>> = operands.weights.into_iter().map(product).collect();
    let joined = match products.len() {
        1 => products.remove(0),
        _ => Tensor::cat(products, 1),
    };
    match operands.residual {
        Some(residual) => residual + joined,
        None => joined,
    }
}

#[cfg(test)]
mod tests;
