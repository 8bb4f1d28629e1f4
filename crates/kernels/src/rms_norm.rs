//! Root-mean-square layer normalisation.

use burn::tensor::Tensor;

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension, epsilon inside the root as in Llama
/// (Zhang & Sennrich 2019, arXiv 1910.07467). `x` is `[tokens, hidden]`, `weight` `[hidden]`; returns `[tokens, hidden]`.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let root_mean_square = x.clone().square().mean_dim(1).add_scalar(epsilon).sqrt();
    x / root_mean_square * weight.unsqueeze()
}
