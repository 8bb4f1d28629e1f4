//! Rotary position embeddings, rotating halves as Hugging Face's Llama does.

use burn::tensor::{Device, Tensor, TensorData};

/// The rotations of one forward pass: cosines and sines of position times frequency.
#[derive(Debug, Clone)]
pub struct Rotations {
    /// `[batch, seq, 1, head_dim]`, each half the same.
    cosine: Tensor<4>,
    /// `[batch, seq, 1, head_dim]`, each half the same.
    sine: Tensor<4>,
    /// `[1, 1, head_dim, head_dim]`: `x.matmul(quarter_turn)` is `[-x2, x1]` of `x = [x1, x2]`.
    quarter_turn: Tensor<4>,
}

impl Rotations {
    /// Of the positions `position_ids` (`[batch * seq]`, `shape` being `[batch, seq]`) at `frequencies`
    /// (`[head_dim / 2]`, radians a position). Angles are products in f32, as in transformers.
    pub fn new(
        shape: [usize; 2],
        position_ids: &[u32],
        frequencies: &[f32],
        device: &Device,
    ) -> Self {
        let half = frequencies.len();
        let head_dim = 2 * half;
        let mut cosine = Vec::with_capacity(position_ids.len() * head_dim);
        let mut sine = Vec::with_capacity(position_ids.len() * head_dim);
        for &position in position_ids {
            let angles = || {
                frequencies
                    .iter()
                    .map(|frequency| position as f32 * frequency)
            };
            cosine.extend(angles().chain(angles()).map(f32::cos));
            sine.extend(angles().chain(angles()).map(f32::sin));
        }
        let mut quarter_turn = vec![0f32; head_dim * head_dim];
        for i in 0..half {
            quarter_turn[i * head_dim + half + i] = 1.0;
            quarter_turn[(half + i) * head_dim + i] = -1.0;
        }
        let table = |values: Vec<f32>| {
            Tensor::from_data(
                TensorData::new(values, [shape[0], shape[1], 1, head_dim]),
                device,
            )
        };
        Self {
            cosine: table(cosine),
            sine: table(sine),
            quarter_turn: Tensor::from_data(
                TensorData::new(quarter_turn, [1, 1, head_dim, head_dim]),
                device,
            ),
        }
    }
}

/// Rotates queries or keys `[batch, seq, heads, head_dim]` to their positions: with `x = [x1, x2]` split in halves,
/// `x * cos + [-x2, x1] * sin` (Su et al. 2021, arXiv 2104.09864).
pub fn rotate(x: Tensor<4>, rotations: &Rotations) -> Tensor<4> {
    // A product with a signed permutation is exact, and its gradient is one more product; slices and a
    // concatenation would be padded with zeros on the way back.
    let turned = x.clone().matmul(rotations.quarter_turn.clone());
    x * rotations.cosine.clone() + turned * rotations.sine.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    #[test]
    fn halves_rotate_by_position_times_frequency() {
        let device = Device::flex();
        let frequencies = [1.0, 0.25];
        let rotations = Rotations::new([1, 2], &[0, 3], &frequencies, &device);
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
        rotate(x, &rotations)
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
                rotate(
                    x.clone(),
                    &Rotations::new([1, 1], &[position], &frequencies, &device),
                )
            };
            (at(&query, i) * at(&key, j)).sum_dim(3).into_data()
        };
        product(9, 4).assert_approx_eq::<f32>(&product(25, 20), Tolerance::absolute(1e-5));
    }
}
