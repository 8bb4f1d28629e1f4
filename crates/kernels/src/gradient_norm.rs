//! The norm of gradients, and the factor that limits it.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::tensor::DType;
use burn::tensor::Tensor;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube;
use crate::flex::tensor::{as_slice, into_flex};
use crate::flex::{self, adamw as pass};

/// The sum of squares of gradients, which is the square of their norm together. It waits for the
/// device once.
///
/// Chunks of some thousand elements are summed in f32, and their sums in f64: a plain f32 sum over
/// an embedding table of 28 million elements was 1 % off.
pub fn squared_norm<'a, const D: usize>(gradients: impl IntoIterator<Item = &'a Tensor<D>>) -> f64 {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    let mut on_device: Vec<Tensor<1>> = Vec::new();
    let mut sum = 0.0;
    for gradient in gradients {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        if gradient.dtype() == DType::F32 && cube::supports(gradient) {
            let sums = cube::adamw::chunked_squares(cube::tensor::into_cube(gradient.clone()));
            on_device.push(cube::tensor::from_cube(sums));
            continue;
        }
        sum += match flex::supports(gradient) {
            true => {
                let gradient = into_flex(gradient.clone()).to_contiguous();
                pass::squared_norm(as_slice(&gradient))
            }
            false => squared_norm_reference(gradient),
        };
    }
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if !on_device.is_empty() {
        let sums = Tensor::cat(on_device, 0).into_data_as::<f32>();
        sum += sums.iter::<f64>().sum::<f64>();
    }
    sum
}

/// [`squared_norm`] as a chain of Burn operations.
pub fn squared_norm_reference<const D: usize>(gradient: &Tensor<D>) -> f64 {
    const CHUNK: usize = 1024;
    let count = gradient.shape().num_elements();
    let squares = gradient.clone().mul(gradient.clone()).reshape([count]);
    let whole = count - count % CHUNK;
    let mut sums = Vec::new();
    if whole > 0 {
        let chunks = squares
            .clone()
            .slice(0..whole)
            .reshape([whole / CHUNK, CHUNK]);
        sums.extend(chunks.sum_dim(1).into_data_as::<f32>().iter::<f64>());
    }
    if whole < count {
        sums.extend(
            squares
                .slice(whole..count)
                .sum()
                .into_data_as::<f32>()
                .iter::<f64>(),
        );
    }
    sums.iter().sum()
}

/// The factor that limits the global norm of gradients to `max_norm`: `min(1, max_norm / (norm +
/// 1e-6))`, as in `torch.nn.utils.clip_grad_norm_`.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_norm_of_a_long_gradient_is_accurate() {
        for count in [1usize, 1000, 1024, 5_000_001] {
            let gradient = Tensor::<1>::full([count], 0.1, &Device::flex());
            let expected = count as f64 * f64::from(0.1f32 * 0.1f32);
            for found in [squared_norm([&gradient]), squared_norm_reference(&gradient)] {
                assert!(
                    (found - expected).abs() <= 1e-5 * expected,
                    "{count}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn clipping_never_enlarges() {
        assert_eq!(clip_factor(0.1, 0.3), 1.0);
        assert!((clip_factor(3.0, 0.3) - 0.1).abs() < 1e-6);
    }
}
