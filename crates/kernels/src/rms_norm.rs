//! Root-mean-square layer normalisation.

use burn::tensor::Tensor;

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension, epsilon inside the root as in Llama
/// (Zhang & Sennrich 2019, arXiv 1910.07467). `x` is `[tokens, hidden]`, `weight` `[hidden]`; returns `[tokens, hidden]`.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let root_mean_square = x.clone().square().mean_dim(1).add_scalar(epsilon).sqrt();
    x / root_mean_square * weight.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};

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
}
