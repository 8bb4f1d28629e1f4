//! Linear layers of a Llama: several weights side by side, with their adapters, the norm or gate before and the residual
//! after.

use burn::tensor::{DType, FloatDType, Tensor};

use crate::flex::operands::{Adapter, Factor, Operands, Preparation};
use crate::flex::operations::linear::MOST_FACTORS;
use crate::{flex, rms_norm_reference, swiglu_reference};

/// What the product is taken of. What is made of a tensor on the way is made again by the backward pass, not kept.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart where it is made: one a layer and pass"
)]
pub enum LinearInput {
    /// `[tokens, in]`, as it is.
    Plain(Tensor<2>),
    /// [`rms_norm`](crate::rms_norm()) of `x` `[tokens, in]`.
    Normalised {
        /// `[tokens, in]`.
        x: Tensor<2>,
        /// `[in]`.
        weight: Tensor<1>,
        /// Added to the mean of the squares.
        epsilon: f64,
    },
    /// [`swiglu`](crate::swiglu()) of `[tokens, 2 * in]`.
    Gated(Tensor<2>),
}

/// A weight `[out, in]`, as PyTorch stores it, and its adapter.
#[derive(Debug, Clone)]
pub struct LinearWeight {
    /// `[out, in]`; a constant may be in half precision, which products make f32.
    pub weight: Tensor<2>,
    /// Added to it.
    pub low_rank: Option<LowRank>,
}

/// A low-rank update `scaling * (x * mask) A^T B^T` of a product (LoRA: Hu et al. 2021, arXiv 2106.09685).
#[derive(Debug, Clone)]
pub struct LowRank {
    /// `[r, in]`.
    pub a: Tensor<2>,
    /// `[out, r]`.
    pub b: Tensor<2>,
    /// alpha / r.
    pub scaling: f64,
    /// `[tokens, in]`: dropout's zeros and scales; a constant.
    pub mask: Option<Tensor<2>>,
}

/// `residual + [x W_1^T, x W_2^T, ..]`: `[tokens, sum of out]`, the products side by side, low-rank updates included.
///
/// On flex one operation of the graph, and no gradient is computed for a tensor that has none to get (a frozen weight, the
/// input of a model's first layer); elsewhere [`linear_reference`].
///
/// # Panics
///
/// Without a weight or with more than three, where one in half precision has a gradient to get, or where a weight, a part of
/// an adapter, the norm or the residual has another shape than the input asks for: the caller's bug.
pub fn linear(
    input: LinearInput,
    weights: Vec<LinearWeight>,
    residual: Option<Tensor<2>>,
) -> Tensor<2> {
    assert!(
        (1..=MOST_FACTORS).contains(&weights.len()),
        "a product has one to three weights"
    );
    let is_whole = |weight: &Tensor<2>| weight.dtype() == DType::F32;
    assert!(
        weights
            .iter()
            .all(|w| is_whole(&w.weight) || !w.weight.is_tracked()),
        "a weight in half precision is a constant"
    );
    check_shapes(&input, &weights, residual.as_ref());
    let (LinearInput::Plain(x) | LinearInput::Normalised { x, .. } | LinearInput::Gated(x)) =
        &input;
    if !flex::takes(x) || x.dims().contains(&0) {
        return linear_reference(input, weights, residual);
    }
    let (input, norm, preparation) = match input {
        LinearInput::Plain(x) => (x, None, Preparation::Plain),
        LinearInput::Normalised { x, weight, epsilon } => {
            (x, Some(weight), Preparation::Normalised { epsilon })
        }
        LinearInput::Gated(x) => (x, None, Preparation::Gated),
    };
    let operands = Operands {
        input: input.into_dispatch(),
        norm: norm.map(Tensor::into_dispatch),
        residual: residual.map(Tensor::into_dispatch),
        factors: weights
            .into_iter()
            .map(|LinearWeight { weight, low_rank }| Factor {
                weight: weight.into_dispatch(),
                adapter: low_rank.map(|update| Adapter {
                    a: update.a.into_dispatch(),
                    b: update.b.into_dispatch(),
                    mask: update.mask.map(Tensor::into_dispatch),
                    scaling: update.scaling as f32,
                }),
            })
            .collect(),
    };
    flex::operations::linear::linear(operands, preparation)
}

fn check_shapes(input: &LinearInput, weights: &[LinearWeight], residual: Option<&Tensor<2>>) {
    let [tokens, inputs] = match input {
        LinearInput::Plain(x) => x.dims(),
        LinearInput::Normalised { x, weight, .. } => {
            let [tokens, inputs] = x.dims();
            assert_eq!(weight.dims(), [inputs], "the norm's weight: [in]");
            [tokens, inputs]
        }
        LinearInput::Gated(x) => {
            let [tokens, width] = x.dims();
            assert!(
                width.is_multiple_of(2),
                "gate and up cannot share a width of {width}"
            );
            [tokens, width / 2]
        }
    };
    for LinearWeight { weight, low_rank } in weights {
        let [outputs, width] = weight.dims();
        assert_eq!(width, inputs, "a weight's width and its input's");
        let Some(LowRank { a, b, mask, .. }) = low_rank else {
            continue;
        };
        let [rank, width] = a.dims();
        assert!(rank > 0, "an adapter has a rank");
        assert_eq!(width, inputs, "an adapter's width and its input's");
        assert_eq!(b.dims(), [outputs, rank], "an adapter's B: [out, r]");
        if let Some(mask) = mask {
            assert_eq!(mask.dims(), [tokens, inputs], "a mask: [tokens, in]");
        }
    }
    if let Some(residual) = residual {
        let outputs = weights.iter().map(|w| w.weight.dims()[0]).sum();
        let expected: [usize; 2] = [tokens, outputs];
        assert_eq!(residual.dims(), expected, "the residual: [tokens, out]");
    }
}

/// The same as a plain chain of Burn operations.
pub fn linear_reference(
    input: LinearInput,
    weights: Vec<LinearWeight>,
    residual: Option<Tensor<2>>,
) -> Tensor<2> {
    let x = match input {
        LinearInput::Plain(x) => x,
        LinearInput::Normalised { x, weight, epsilon } => rms_norm_reference(x, weight, epsilon),
        LinearInput::Gated(x) => swiglu_reference(x),
    };
    let product = |LinearWeight { weight, low_rank }| {
        let weight = weight.cast(FloatDType::from(x.dtype()));
        let product = x.clone().matmul(weight.transpose());
        let Some(update) = low_rank else {
            return product;
        };
        let x = match update.mask {
            Some(mask) => x.clone() * mask,
            None => x.clone(),
        };
        let inner = x.matmul(update.a.transpose()).mul_scalar(update.scaling);
        product + inner.matmul(update.b.transpose())
    };
    let mut products: Vec<Tensor<2>> = weights.into_iter().map(product).collect();
    let joined = match products.len() {
        1 => products.remove(0),
        _ => Tensor::cat(products, 1),
    };
    match residual {
        Some(residual) => residual + joined,
        None => joined,
    }
}

#[cfg(test)]
mod tests;
