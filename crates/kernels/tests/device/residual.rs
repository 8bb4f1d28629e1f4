//! A tensor that a layer normalizes and a later one adds: its gradient has several parts.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use plw_kernels::{LinearInput, LinearOperands, linear, linear_reference};
use proptest::prelude::*;

use crate::bf16::{self, Place};
use crate::{Random, compare, config, leaf, widths};

/// How `x` is used.
#[derive(Debug, Clone, Copy)]
struct Uses {
    /// Whether nothing is before it.
    is_leaf: bool,
    /// Layers that normalize it.
    normalized: usize,
    /// Layers that add it, one after the other.
    added: usize,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_residual_that_was_normalized_has_the_sum_of_its_gradients(
        seed: u64,
        tokens in 1usize..70,
        width in widths(70),
        is_leaf: bool,
        normalized in 1usize..3,
        added in 0usize..3,
    ) {
        let uses = Uses { is_leaf, normalized, added };
        let run = |linear: fn(LinearOperands) -> Tensor<2>, device: &Device| {
            layers(linear, uses, seed, [tokens, width], (device, FloatDType::F32))
        };
        compare(|device| run(linear, device), |device| run(linear_reference, device));
    }

    #[test]
    fn a_residual_in_bf16_has_the_rounded_sum_of_its_gradients(
        seed: u64,
        tokens in 1usize..70,
        width in widths(70),
        is_leaf: bool,
    ) {
        let uses = Uses { is_leaf, normalized: 1, added: 1 };
        let run = |linear: fn(LinearOperands) -> Tensor<2>, place: Place<'_>| {
            layers(linear, uses, seed, [tokens, width], place)
        };
        bf16::compare(2, |place| run(linear, place), |place| run(linear_reference, place));
    }
}

/// The output, and the gradients of `x` and of the norm and the weight of all layers.
fn layers(
    linear: fn(LinearOperands) -> Tensor<2>,
    uses: Uses,
    seed: u64,
    [tokens, width]: [usize; 2],
    place: Place<'_>,
) -> Vec<TensorData> {
    let mut random = Random::new(seed);
    let [x, grad_output] = [(); 2].map(|()| bf16::elements(&mut random, [tokens, width]));
    let first = bf16::tensor::<2>(&x, place).require_grad();
    let norm = leaf::<1>(&random.elements([width]), place.0);
    // A power of two, so that bf16 holds the quotients.
    let scale = (width as f32).sqrt().log2().ceil().exp2();
    let weight = leaf::<2>(&bf16::elements(&mut random, [width, width]), place.0);
    let weight_of_layer = || weight.clone().div_scalar(scale);
    let x = match uses.is_leaf {
        true => first.clone(),
        false => first.clone().mul_scalar(2.0),
    };
    let normalized = |n: usize| {
        let mut operands = LinearOperands::plain(x.clone(), weight_of_layer());
        operands.input = LinearInput::Normalized {
            x: x.clone(),
            weight: norm.clone(),
            epsilon: 1e-5,
        };
        linear(operands).mul_scalar(n as f64)
    };
    let inner = (1..=uses.normalized).map(normalized).reduce(|a, b| a + b);
    let output = (0..uses.added).fold(inner.expect("one or more"), |inner, _| {
        let mut operands = LinearOperands::plain(inner, weight_of_layer());
        operands.residual = Some(x.clone());
        linear(operands)
    });
    let grad_output = bf16::tensor(&grad_output, place);
    let gradients = (output.clone() * grad_output).sum().backward();
    vec![
        output.into_data(),
        first.grad(&gradients).expect("tracked").into_data(),
        norm.grad(&gradients).expect("tracked").into_data(),
        weight.grad(&gradients).expect("tracked").into_data(),
    ]
}
