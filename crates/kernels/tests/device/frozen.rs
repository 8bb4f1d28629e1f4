//! What is frozen gets no gradient, and what is trained beside it gets the same bits.

use burn::tensor::{Tensor, TensorData};
use plw_kernels::{LinearInput, LinearOperands, LinearWeight, LowRankAdapter, linear, rms_norm};
use proptest::prelude::*;

use crate::{Random, config, device, leaf, widths, with_gradients};

/// The output, and the gradients of what is trained either way.
fn run(
    seed: u64,
    [tokens, width]: [usize; 2],
    is_linear: bool,
    is_norm_trained: bool,
) -> Vec<TensorData> {
    let device = device().autodiff();
    let mut random = Random::new(seed);
    let x = leaf::<2>(&random.elements([tokens, width]), &device);
    let weight = Tensor::<1>::from_data(random.elements([width]), &device);
    let weight = weight.set_require_grad(is_norm_trained);
    let grad_output = random.elements([tokens, width]);
    if !is_linear {
        let output = rms_norm(x.clone(), weight.clone(), 1e-5);
        return with_gradients(output, &grad_output, &[&x]);
    }
    let [a, b] = [[3, width], [width, 3]].map(|shape| leaf::<2>(&random.elements(shape), &device));
    let frozen = Tensor::<2>::from_data(random.elements([width, width]), &device);
    let output = linear(LinearOperands {
        input: LinearInput::Normalized {
            x: x.clone(),
            weight: weight.clone(),
            epsilon: 1e-5,
        },
        weights: vec![LinearWeight {
            weight: frozen.into(),
            adapter: Some(LowRankAdapter {
                a: a.clone(),
                b: b.clone(),
                scaling: 0.5,
                mask: None,
            }),
        }],
        residual: None,
    });
    with_gradients(output, &grad_output, &[&x, &a, &b])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_frozen_norm_changes_no_other_gradient(
        seed: u64,
        tokens in 1usize..150,
        width in widths(600),
        is_linear: bool,
    ) {
        let width = if is_linear { width.min(70) } else { width };
        let [trained, frozen] =
            [true, false].map(|is_trained| run(seed, [tokens, width], is_linear, is_trained));
        for (trained, frozen) in trained.iter().zip(&frozen) {
            frozen.assert_eq(trained, true);
        }
    }
}
