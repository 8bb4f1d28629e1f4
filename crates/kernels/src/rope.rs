//! Rotary position embeddings, rotating halves as Hugging Face's Llama does.

use burn::tensor::Tensor;

use crate::half_precision::{in_f32, is_half};
use crate::operations;
use crate::rotary_embedding::RotaryEmbedding;

/// Rotates queries or keys `[batch, seq, heads, head_dim]` by their positions: with `x = [x1, x2]`
/// split in halves, `x * cos + [-x2, x1] * sin` (Su et al. 2021, arXiv 2104.09864).
///
/// On flex and on a GPU this is one pass, in place where nobody else holds `x`; elsewhere
/// [`apply_rotary_reference`].
///
/// A tensor in half precision is computed in f32, and the result rounded to its type. On a GPU that
/// has bf16 its kernels read and write it; elsewhere it is cast.
///
/// # Panics
///
/// Where the embedding is of another `[batch, seq]` or head_dim than `x`, which is a bug of the
/// caller.
pub fn apply_rotary(x: Tensor<4>, rotary: &RotaryEmbedding) -> Tensor<4> {
    let [batch, seq, _, head_dim] = x.dims();
    rotary.check_shape([batch, seq], head_dim);
    match operations::has_kernels(&x) {
        true => operations::rope::apply_rotary(x, rotary.clone()),
        false if is_half(&x) => in_f32(x, |x| apply_rotary(x, rotary)),
        false => apply_rotary_reference(x, rotary),
    }
}

/// [`apply_rotary`] as a chain of Burn operations.
pub fn apply_rotary_reference(x: Tensor<4>, rotary: &RotaryEmbedding) -> Tensor<4> {
    let tables = rotary.tables();
    // A product with a signed permutation is exact, and its gradient is one more product. Slices
    // and a concatenation would pad their gradients with zeros.
    let turned = x.clone().matmul(tables.quarter_turn.clone());
    x * tables.cosine.clone() + turned * tables.sine.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, TensorData, Tolerance};

    #[test]
    fn halves_rotate_by_position_times_frequency() {
        let device = Device::flex();
        let frequencies = [1.0, 0.25];
        let rotary = RotaryEmbedding::new([1, 2], &[0, 3], &frequencies, &device);
        let x =
            Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0, 3.0, 4.0]]]], &device);
        let turn = |a: f32, b: f32, angle: f32| {
            [
                a * angle.cos() - b * angle.sin(),
                b * angle.cos() + a * angle.sin(),
            ]
        };
        let ([a, c], [b, d]) = (turn(1.0, 3.0, 3.0), turn(2.0, 4.0, 0.75));
        let expected =
            Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0, 4.0]], [[a, b, c, d]]]], &device);
        apply_rotary(x, &rotary)
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-5));
    }

    #[test]
    fn products_depend_on_the_distance_alone() {
        let device = Device::flex();
        let frequencies = [1.0, 0.1, 0.01];
        let query = Tensor::<4>::from_floats([[[[0.3, -1.2, 0.7, 2.1, -0.4, 0.9]]]], &device);
        let key = Tensor::<4>::from_floats([[[[-1.1, 0.2, 1.6, -0.8, 0.5, 1.3]]]], &device);
        let product = |i: u32, j: u32| {
            let at = |x: &Tensor<4>, position| {
                apply_rotary(
                    x.clone(),
                    &RotaryEmbedding::new([1, 1], &[position], &frequencies, &device),
                )
            };
            (at(&query, i) * at(&key, j)).sum_dim(3).into_data()
        };
        product(9, 4).assert_approx_eq::<f32>(&product(25, 20), Tolerance::absolute(1e-5));
    }

    #[test]
    fn the_kernel_equals_the_reference_in_value_and_gradient() {
        let device = Device::flex().autodiff();
        for (batch, seq, heads, half) in [(1, 1, 1, 1), (2, 33, 3, 5), (1, 40, 4, 32)] {
            let positions: Vec<u32> = (0..(batch * seq) as u32).map(|i| i * 7 % 50).collect();
            let frequencies: Vec<f32> = (0..half).map(|i| 0.7f32.powi(i)).collect();
            let rotary = RotaryEmbedding::new([batch, seq], &positions, &frequencies, &device);
            let random = || {
                let shape = [batch, seq, heads, 2 * half as usize];
                Tensor::<4>::random(shape, Distribution::Default, &device)
            };
            let (x, grad_output) = (random().require_grad(), random());
            let [fused, plain] = [apply_rotary, apply_rotary_reference].map(|apply_rotary| {
                let output = apply_rotary(x.clone(), &rotary);
                let gradients = (output.clone() * grad_output.clone()).sum().backward();
                let gradient = x.grad(&gradients).expect("tracked");
                (output.into_data(), gradient.into_data())
            });
            let tolerance = Tolerance::<f32>::absolute(1e-6);
            fused.0.assert_approx_eq(&plain.0, tolerance);
            fused.1.assert_approx_eq(&plain.1, tolerance);
        }
    }

    #[test]
    fn rotating_in_place_gives_the_same_result() {
        let positions: Vec<u32> = (0..66).map(|i| i * 7 % 50).collect();
        let shape = [2, 33, 3, 4];
        let values: Vec<f32> = (0..2 * 33 * 3 * 4).map(|i| (i as f32).sin()).collect();
        let values = TensorData::new(values, shape);
        let tolerance = Tolerance::<f32>::absolute(1e-6);
        for device in [Device::flex(), Device::flex().autodiff()] {
            let rotary = RotaryEmbedding::new([2, 33], &positions, &[1.0, 0.3], &device);
            let [found, expected] = [apply_rotary, apply_rotary_reference].map(|apply_rotary| {
                let leaf = Tensor::<4>::from_data(values.clone(), &device);
                let leaf = leaf.set_require_grad(device.is_autodiff());
                // An addition keeps neither its operands nor its result for the backward pass.
                let output = apply_rotary(leaf.clone().add_scalar(0.25), &rotary);
                if !device.is_autodiff() {
                    return (output.into_data(), None);
                }
                let gradients = (output.clone() * output.clone()).sum().backward();
                let gradient = leaf.grad(&gradients).expect("tracked");
                (output.into_data(), Some(gradient.into_data()))
            });
            found.0.assert_approx_eq(&expected.0, tolerance);
            if let (Some(found), Some(expected)) = (found.1, expected.1) {
                found.assert_approx_eq(&expected, Tolerance::<f32>::absolute(1e-5));
            }
        }
    }

    #[test]
    fn no_tokens_give_an_empty_tensor() {
        let device = Device::flex().autodiff();
        for shape in [[0, 3], [2, 0]] {
            let rotary = RotaryEmbedding::new(shape, &[], &[1.0, 0.3], &device);
            let x = Tensor::<4>::zeros([shape[0], shape[1], 3, 4], &device).require_grad();
            let output = apply_rotary(x.clone(), &rotary);
            assert_eq!(output.dims(), x.dims());
            let gradients = output.sum().backward();
            assert_eq!(x.grad(&gradients).expect("tracked").dims(), x.dims());
        }
    }

    #[test]
    #[should_panic(expected = "of the rotary embedding, and of the tensor it is applied to")]
    fn an_embedding_of_another_batch_is_refused() {
        let device = Device::flex();
        let rotary = RotaryEmbedding::new([1, 2], &[0, 1], &[1.0], &device);
        apply_rotary(Tensor::zeros([2, 2, 1, 2], &device), &rotary);
    }
}
