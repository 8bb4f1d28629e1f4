//! The gated activation of Llama's feed-forward block.

use burn::tensor::{Tensor, activation};

use crate::flex;

/// `silu(gate) * up`, with `silu(x) = x * sigmoid(x)` (Shazeer 2020, arXiv 2002.05202). `joined` is `[tokens, 2 * intermediate]`,
/// gate and up side by side as one product with both weights leaves them; returns `[tokens, intermediate]`.
///
/// On flex one pass, and one back; elsewhere [`swiglu_reference`].
///
/// # Panics
///
/// Where `joined` is of an odd width: the caller's bug.
pub fn swiglu(joined: Tensor<2>) -> Tensor<2> {
    check_width(&joined);
    match flex::takes(&joined) {
        true => flex::operations::swiglu::swiglu(joined),
        false => swiglu_reference(joined),
    }
}

fn check_width(joined: &Tensor<2>) {
    let [_, width] = joined.dims();
    assert!(
        width.is_multiple_of(2),
        "gate and up cannot share a width of {width}"
    );
}

/// The same as a plain chain of Burn operations.
///
/// # Panics
///
/// As [`swiglu`] does.
pub fn swiglu_reference(joined: Tensor<2>) -> Tensor<2> {
    check_width(&joined);
    let [tokens, width] = joined.dims();
    let half = |columns| joined.clone().slice([0..tokens, columns]);
    activation::silu(half(0..width / 2)) * half(width / 2..width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    #[test]
    fn the_gate_passes_the_other_half() {
        let device = Device::flex();
        let joined = Tensor::from_floats([[0.0, 1.0, -2.0, 30.0, 5.0, 2.0, 3.0, 1.0]], &device);
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let expected = Tensor::<2>::from_floats(
            [[0.0, 2.0 * sigmoid(1.0), -6.0 * sigmoid(-2.0), 30.0]],
            &device,
        );
        swiglu(joined)
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn one_pass_equals_the_chain_in_value_and_gradient(tokens in 1usize..50, width in 1usize..70) {
            let device = Device::flex().autodiff();
            let joined = Tensor::<2>::random([tokens, 2 * width], Distribution::Normal(0.0, 3.0), &device).require_grad();
            let upper = Tensor::<2>::random([tokens, width], Distribution::Default, &device);
            let [fused, plain] = [swiglu, swiglu_reference].map(|gate| {
                let output = gate(joined.clone());
                let gradients = (output.clone() * upper.clone()).sum().backward();
                (output.into_data(), joined.grad(&gradients).expect("tracked").into_data())
            });
            let tolerance = Tolerance::<f32>::rel_abs(1e-4, 1e-5);
            fused.0.assert_approx_eq(&plain.0, tolerance);
            fused.1.assert_approx_eq(&plain.1, tolerance);
        }
    }

    #[test]
    #[should_panic(expected = "gate and up cannot share a width of 3")]
    fn an_odd_width_is_refused() {
        swiglu(Tensor::zeros([2, 3], &Device::flex()));
    }
}
