//! Root-mean-square layer normalization.

use burn::tensor::Tensor;

use crate::half_precision::{in_f32, is_half};
use crate::operations;

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension, with epsilon inside the root
/// as in Llama (Zhang and Sennrich 2019, arXiv 1910.07467).
///
/// `x` is `[tokens, hidden]`, `weight` is `[hidden]`. Returns `[tokens, hidden]`.
///
/// On flex and on a GPU this is one pass forward and one backward, elsewhere
/// [`rms_norm_reference`].
///
/// A tensor in half precision is computed in f32, and the result rounded to its type. On a GPU that
/// has bf16 its kernels read and write it; elsewhere it is cast.
///
/// # Panics
///
/// Where `x` and the weight differ in width, which is a bug of the caller.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    check_width(&x, &weight);
    match operations::has_kernels(&x) {
        true => operations::rms_norm::rms_norm(x, weight, epsilon),
        false if is_half(&x) => in_f32(x, |x| rms_norm(x, weight, epsilon)),
        false => rms_norm_reference(x, weight, epsilon),
    }
}

fn check_width(x: &Tensor<2>, weight: &Tensor<1>) {
    let [width] = weight.dims();
    assert_eq!(
        x.dims()[1],
        width,
        "the width of the input, and of the norm's weight"
    );
}

/// [`rms_norm`] as a chain of Burn operations.
///
/// # Panics
///
/// As [`rms_norm`].
pub fn rms_norm_reference(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    check_width(&x, &weight);
    let root_mean_square = x.clone().square().mean_dim(1).add_scalar(epsilon).sqrt();
    x / root_mean_square * weight.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_kernel_equals_the_reference_in_value_and_gradient(
            rows in 1usize..80,
            width in 1usize..70,
        ) {
            let device = Device::flex().autodiff();
            let random = || Tensor::<2>::random([rows, width], Distribution::Default, &device);
            let (x, grad_output) = (random().require_grad(), random());
            let weight = Tensor::<1>::random([width], Distribution::Default, &device);
            let weight = weight.require_grad();
            let [fused, plain] = [rms_norm, rms_norm_reference].map(|norm| {
                let output = norm(x.clone(), weight.clone(), 1e-5);
                let gradients = (output.clone() * grad_output.clone()).sum().backward();
                let grad_x = x.grad(&gradients).expect("tracked");
                let grad_weight = weight.grad(&gradients).expect("tracked");
                (output.into_data(), grad_x.into_data(), grad_weight.into_data())
            });
            let tolerance = Tolerance::<f32>::rel_abs(1e-4, 1e-5);
            fused.0.assert_approx_eq(&plain.0, tolerance);
            fused.1.assert_approx_eq(&plain.1, tolerance);
            fused.2.assert_approx_eq(&plain.2, tolerance);
        }
    }

    #[test]
    fn a_row_is_divided_by_its_root_mean_square() {
        let device = Device::flex();
        let x = Tensor::from_floats([[3.0, -4.0], [0.0, 0.0]], &device);
        let weight = Tensor::from_floats([2.0, 1.0], &device);
        let found = rms_norm(x, weight, 0.5);
        // mean(9, 16) + 0.5 = 13; the zero row is kept finite by epsilon.
        let root = 13f32.sqrt();
        let expected = Tensor::<2>::from_floats([[6.0 / root, -4.0 / root], [0.0, 0.0]], &device);
        found
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }

    #[test]
    #[should_panic(expected = "the width of the input, and of the norm's weight")]
    fn a_weight_of_another_width_is_refused() {
        let device = Device::flex();
        rms_norm(
            Tensor::zeros([4, 6], &device),
            Tensor::zeros([8], &device),
            1e-5,
        );
    }
}
