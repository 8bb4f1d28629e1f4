//! A tensor that a layer normalizes and a later one adds: its gradient has several parts.

use burn::tensor::{Device, Tensor, TensorData};
use plw_kernels::{LinearInput, LinearOperands, linear, linear_reference};
use proptest::prelude::*;

use crate::{Random, compare, config, leaf, widths, with_gradients};

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
        let mut random = Random::new(seed);
        let mut draw = || random.elements([tokens, width]);
        let (x, grad_output) = (draw(), draw());
        let norm = random.elements([width]);
        let weight = random.elements([width, width]);
        let run = |linear: fn(LinearOperands) -> Tensor<2>, device: &Device| {
            layers(linear, uses, [&x, &norm, &weight, &grad_output], device)
        };
        compare(|device| run(linear, device), |device| run(linear_reference, device));
    }
}

/// The output, and the gradients of `x` and of the weight of all layers.
fn layers(
    linear: fn(LinearOperands) -> Tensor<2>,
    uses: Uses,
    [x, norm, weight, grad_output]: [&TensorData; 4],
    device: &Device,
) -> Vec<TensorData> {
    let (first, weight) = (leaf::<2>(x, device), leaf::<2>(weight, device));
    let norm = Tensor::<1>::from_data(norm.clone(), device);
    let width = weight.dims()[0] as f64;
    let weight_of_layer = || weight.clone().div_scalar(width.sqrt());
    let x = match uses.is_leaf {
        true => first.clone(),
        false => first.clone().mul_scalar(1.5),
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
    with_gradients(output, grad_output, &[&first, &weight])
}
