//! The norm of gradients, and the factor that limits it.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::tensor::Device;
use burn::tensor::Tensor;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube;
use crate::flex::tensor::{as_slice, into_flex};
use crate::flex::{self, adamw as pass};
use crate::readback::Readback;

/// The norm of gradients together. On a GPU it is still to be computed there.
///
/// Chunks of some thousand elements are summed in f32, and their sums in f64: a plain f32 sum over
/// an embedding table of 28 million elements was 1 % off.
#[derive(Debug, Clone)]
pub struct GradientNorm {
    /// The sum of squares of what is on the CPU.
    squares: f64,
    /// The sums of squares of chunks on a GPU.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    on_device: Option<Tensor<1>>,
}

/// What gradients are multiplied by before an optimizer step.
#[derive(Debug, Clone)]
pub enum GradientFactor {
    /// A number that the CPU knows.
    Known(f64),
    /// `[1]`, in f32. Below 0, which stands for a norm that is not finite, a step changes nothing.
    OnDevice(Box<Tensor<1>>),
}

impl GradientFactor {
    /// The number. It waits for the GPU.
    pub(crate) fn read(&self) -> f64 {
        match self {
            Self::Known(factor) => *factor,
            Self::OnDevice(factor) => f64::from(Tensor::clone(factor).into_scalar::<f32>()),
        }
    }

    /// `[1]`, on this device.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn on(&self, device: &Device) -> Tensor<1> {
        match self {
            Self::Known(factor) => Tensor::from_data([*factor as f32], device),
            Self::OnDevice(factor) => Tensor::clone(factor),
        }
    }
}

impl GradientNorm {
    /// Of these gradients. It does not wait for a GPU.
    pub fn new<'a, const D: usize>(gradients: impl IntoIterator<Item = &'a Tensor<D>>) -> Self {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        let mut on_device = Vec::new();
        let mut squares = 0.0;
        for gradient in gradients {
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            if cube::supports(gradient) {
                on_device.push(cube::tensor::into_cube(gradient.clone()));
                continue;
            }
            squares += match flex::supports(gradient) {
                true => {
                    let gradient = into_flex(gradient.clone()).to_contiguous();
                    pass::squared_norm(as_slice(&gradient))
                }
                false => squared_norm_reference(gradient),
            };
        }
        Self {
            squares,
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            on_device: cube::adamw::chunked_squares(on_device).map(cube::tensor::from_cube),
        }
    }

    /// The factor that limits the norm, as [`clip_factor`] computes it.
    pub fn limit(&self, max_norm: f64) -> GradientFactor {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        if let Some(sums) = &self.on_device {
            let factor = cube::adamw::limit(cube::tensor::into_cube(sums.clone()), max_norm);
            return GradientFactor::OnDevice(Box::new(cube::tensor::from_cube(factor)));
        }
        GradientFactor::Known(clip_factor(self.squares.sqrt(), max_norm))
    }

    /// The sums of squares that are still on a GPU, for [`GradientNorm::squared_with`].
    pub fn on_device(&self) -> Option<Tensor<1>> {
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        return self.on_device.clone();
        #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
        None
    }

    /// The sum of squares, which is the square of the norm, with what was read of
    /// [`GradientNorm::on_device`].
    pub fn squared_with(&self, sums: &[f32]) -> f64 {
        self.squares + sums.iter().map(|&sum| f64::from(sum)).sum::<f64>()
    }

    /// [`GradientNorm::squared_with`], waiting for the GPU.
    pub fn squared(&self) -> f64 {
        let sums = Readback::new(self.on_device().into_iter().collect()).wait();
        self.squared_with(sums.first().map_or(&[], Vec::as_slice))
    }
}

/// The sum of squares of gradients. See [`GradientNorm`].
pub fn squared_norm<'a, const D: usize>(gradients: impl IntoIterator<Item = &'a Tensor<D>>) -> f64 {
    GradientNorm::new(gradients).squared()
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
/// 1e-6))`, as in `torch.nn.utils.clip_grad_norm_`. 0 is no limit, as the factor 1 is.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    if max_norm == 0.0 {
        return 1.0;
    }
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
