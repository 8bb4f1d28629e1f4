//! The gated activation of Llama's feed-forward block.

use burn::tensor::{Tensor, activation};

use crate::half_precision::{in_f32, is_half};
use crate::operations;

/// `silu(gate) * up`, with `silu(x) = x * sigmoid(x)` (Shazeer 2020, arXiv 2002.05202).
///
/// `gate_up` is `[tokens, 2 * intermediate]`: gate and up side by side, as one product with both
/// weights leaves them. Returns `[tokens, intermediate]`.
///
/// On flex and on a GPU this is one pass forward and one backward, elsewhere [`swiglu_reference`].
///
/// A tensor in half precision is computed in f32, and the result rounded to its type. On a GPU that
/// has bf16 its kernels read and write it; elsewhere it is cast.
///
/// # Panics
///
/// Where the width of `gate_up` is odd, which is a bug of the caller.
pub fn swiglu(gate_up: Tensor<2>) -> Tensor<2> {
    check_width(&gate_up);
    match operations::has_kernels(&gate_up) {
        true => operations::swiglu::swiglu(gate_up),
        false if is_half(&gate_up) => in_f32(gate_up, swiglu),
        false => swiglu_reference(gate_up),
    }
}

fn check_width(gate_up: &Tensor<2>) {
    let [_, width] = gate_up.dims();
    assert!(
        width.is_multiple_of(2),
        "gate and up side by side have an even width, not {width}"
    );
}

/// [`swiglu`] as a chain of Burn operations.
///
/// # Panics
///
/// As [`swiglu`].
pub fn swiglu_reference(gate_up: Tensor<2>) -> Tensor<2> {
    check_width(&gate_up);
    let [tokens, width] = gate_up.dims();
    let half = |columns| gate_up.clone().slice([0..tokens, columns]);
    activation::silu(half(0..width / 2)) * half(width / 2..width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    #[test]
    fn the_output_is_silu_of_gate_times_up() {
        let device = Device::flex();
        let gate_up = Tensor::from_floats([[0.0, 1.0, -2.0, 30.0, 5.0, 2.0, 3.0, 1.0]], &device);
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let expected = Tensor::<2>::from_floats(
            [[0.0, 2.0 * sigmoid(1.0), -6.0 * sigmoid(-2.0), 30.0]],
            &device,
        );
        swiglu(gate_up)
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_kernel_equals_the_reference_in_value_and_gradient(
            tokens in 1usize..50,
            width in 1usize..70,
        ) {
            let device = Device::flex().autodiff();
            let normal = Distribution::Normal(0.0, 3.0);
            let gate_up = Tensor::<2>::random([tokens, 2 * width], normal, &device).require_grad();
            let grad_output = Tensor::<2>::random([tokens, width], Distribution::Default, &device);
            let [fused, plain] = [swiglu, swiglu_reference].map(|gate| {
                let output = gate(gate_up.clone());
                let gradients = (output.clone() * grad_output.clone()).sum().backward();
                let grad_gate_up = gate_up.grad(&gradients).expect("tracked");
                (output.into_data(), grad_gate_up.into_data())
            });
            let tolerance = Tolerance::<f32>::rel_abs(1e-4, 1e-5);
            fused.0.assert_approx_eq(&plain.0, tolerance);
            fused.1.assert_approx_eq(&plain.1, tolerance);
        }
    }

    #[test]
    #[should_panic(expected = "an even width, not 3")]
    fn an_odd_width_is_refused() {
        swiglu(Tensor::zeros([2, 3], &Device::flex()));
    }
}
