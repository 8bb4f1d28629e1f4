//! Root-mean-square layer normalisation.

use burn::tensor::Tensor;

use crate::flex;

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension, epsilon inside the root as in Llama
/// (Zhang & Sennrich 2019, arXiv 1910.07467). `x` is `[tokens, hidden]`, `weight` `[hidden]`; returns `[tokens, hidden]`.
///
/// On flex one pass over the rows, and one back; elsewhere [`rms_norm_reference`].
///
/// # Panics
///
/// Where the weight is of another width than `x`: the caller's bug.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    check_width(&x, &weight);
    match flex::takes(&x) {
        true => flex::operations::rms_norm::rms_norm(x, weight, epsilon),
        false => rms_norm_reference(x, weight, epsilon),
    }
}

fn check_width(x: &Tensor<2>, weight: &Tensor<1>) {
    let [width] = weight.dims();
    assert_eq!(
        x.dims()[1],
        width,
        "a norm's weight of {width} and the width of its input"
    );
}

/// The same as a plain chain of Burn operations.
///
/// # Panics
///
/// As [`rms_norm`] does.
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
        fn one_pass_equals_the_chain_in_value_and_gradient(rows in 1usize..80, width in 1usize..70) {
            let device = Device::flex().autodiff();
            let x = Tensor::<2>::random([rows, width], Distribution::Default, &device).require_grad();
            let weight = Tensor::<1>::random([width], Distribution::Default, &device).require_grad();
            let upper = Tensor::<2>::random([rows, width], Distribution::Default, &device);
            let [fused, plain] = [rms_norm, rms_norm_reference].map(|norm| {
                let output = norm(x.clone(), weight.clone(), 1e-5);
                let gradients = (output.clone() * upper.clone()).sum().backward();
                let of = (x.grad(&gradients), weight.grad(&gradients));
                (output.into_data(), of.0.expect("tracked").into_data(), of.1.expect("tracked").into_data())
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
    #[should_panic(expected = "a norm's weight of 8 and the width of its input")]
    fn a_weight_of_another_width_is_refused() {
        let device = Device::flex();
        rms_norm(
            Tensor::zeros([4, 6], &device),
            Tensor::zeros([8], &device),
            1e-5,
        );
    }
}
