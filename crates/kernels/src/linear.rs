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
/// Without a weight or with more than three, or where one in half precision has a gradient to get: the caller's bug.
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
    let (LinearInput::Plain(x) | LinearInput::Normalised { x, .. } | LinearInput::Gated(x)) =
        &input;
    if !flex::takes(x) || x.dims()[0] == 0 {
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
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    /// What is tracked, and what there is.
    #[derive(Debug, Clone, Copy)]
    struct Case {
        tokens: usize,
        inputs: usize,
        outputs: [usize; 3],
        count: usize,
        preparation: u8,
        has_residual: bool,
        rank: usize,
        has_mask: bool,
        tracks_input: bool,
        tracks_weights: bool,
        half_precision: Option<FloatDType>,
    }

    fn cases() -> impl Strategy<Value = Case> {
        let sizes = (
            1usize..40,
            1usize..40,
            [1usize..20, 1usize..20, 1usize..20],
            1usize..4,
        );
        let half_precision = prop_oneof![
            Just(None),
            Just(Some(FloatDType::BF16)),
            Just(Some(FloatDType::F16))
        ];
        let kinds = (
            0u8..3,
            any::<bool>(),
            0usize..4,
            any::<bool>(),
            half_precision,
        );
        (sizes, kinds, any::<[bool; 2]>()).prop_map(|(sizes, kinds, tracks)| Case {
            tokens: sizes.0,
            inputs: sizes.1,
            outputs: sizes.2,
            count: sizes.3,
            preparation: kinds.0,
            has_residual: kinds.1,
            rank: kinds.2,
            has_mask: kinds.3,
            tracks_input: tracks[0],
            tracks_weights: tracks[1],
            half_precision: kinds.4,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn one_operation_equals_the_chain_in_value_and_gradient(case in cases()) {
            let device = Device::flex().autodiff();
            let random = |shape: [usize; 2], is_tracked: bool| {
                Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device).set_require_grad(is_tracked)
            };
            let Case { tokens, inputs, tracks_input, tracks_weights, .. } = case;
            let widths = &case.outputs[..case.count];
            let width: usize = widths.iter().sum();
            let x = random([tokens, inputs * if case.preparation == 2 { 2 } else { 1 }], tracks_input);
            let norm = random([1, inputs], tracks_weights);
            let residual = random([tokens, width], tracks_input);
            let upper = random([tokens, width], false);
            // A frozen weight under a trained adapter, or a trained weight.
            let weights: Vec<LinearWeight> = widths.iter().map(|&outputs| LinearWeight {
                weight: {
                    let is_trained = tracks_weights && case.rank == 0;
                    let weight = random([outputs, inputs], is_trained);
                    match case.half_precision {
                        Some(dtype) if !is_trained => weight.cast(dtype),
                        _ => weight,
                    }
                },
                low_rank: (case.rank > 0).then(|| LowRank {
                    a: random([case.rank, inputs], tracks_weights),
                    b: random([outputs, case.rank], tracks_weights),
                    scaling: 0.7,
                    mask: case.has_mask.then(|| random([tokens, inputs], false)),
                }),
            }).collect();
            let mut leaves = vec![x.clone(), norm.clone(), residual.clone()];
            for LinearWeight { weight, low_rank } in &weights {
                leaves.push(weight.clone());
                leaves.extend(low_rank.iter().flat_map(|update| [update.a.clone(), update.b.clone()]));
            }
            let [fused, plain] = [linear, linear_reference].map(|linear| {
                let input = match case.preparation {
                    0 => LinearInput::Plain(x.clone()),
                    1 => LinearInput::Normalised { x: x.clone(), weight: norm.clone().flatten(0, 1), epsilon: 1e-3 },
                    _ => LinearInput::Gated(x.clone()),
                };
                let output = linear(input, weights.clone(), case.has_residual.then(|| residual.clone()));
                let values = output.to_data();
                if !output.is_tracked() {
                    return (values, Vec::new());
                }
                let gradients = (output * upper.clone()).sum().backward();
                (values, leaves.iter().map(|leaf| leaf.grad(&gradients).map(Tensor::into_data)).collect::<Vec<_>>())
            });
            let tolerance = Tolerance::<f32>::rel_abs(1e-3, 2e-4);
            fused.0.assert_approx_eq(&plain.0, tolerance);
            prop_assert_eq!(fused.1.len(), plain.1.len());
            for (fused, plain) in fused.1.iter().zip(&plain.1) {
                match (fused, plain) {
                    (Some(fused), Some(plain)) => fused.assert_approx_eq(plain, tolerance),
                    (None, None) => {}
                    (fused, plain) => prop_assert!(false, "gradients: {} and {}", fused.is_some(), plain.is_some()),
                }
            }
        }
    }
}
