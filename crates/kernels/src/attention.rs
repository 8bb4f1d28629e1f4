//! Grouped-query attention under the mask of a batch.

use burn::tensor::{Device, Tensor, TensorData};

/// Who sees whom in a batch: within a row, token j is seen by the queries `j..visible_until[j]`.
///
/// One integer a token holds causal attention, packed documents, shared prefixes and padding (compare FlashMask,
/// arXiv 2410.01359). Built once a forward pass.
#[derive(Debug, Clone)]
pub struct AttentionMask {
    /// `[batch, 1, 1, seq, seq]` (query, key): 0 where the query sees the key, minus infinity elsewhere.
    bias: Tensor<5>,
}

impl AttentionMask {
    /// From `visible_until` (`[batch * seq]`, `shape` being `[batch, seq]`). Every token must be seen by itself, so
    /// that no softmax is empty.
    pub fn new(shape: [usize; 2], visible_until: &[u32], device: &Device) -> Self {
        let [batch, seq] = shape;
        let mut bias = vec![f32::NEG_INFINITY; batch * seq * seq];
        for (flat, &until) in visible_until.iter().enumerate() {
            let (row, key) = (flat / seq, flat % seq);
            for query in key..until as usize {
                bias[(row * seq + query) * seq + key] = 0.0;
            }
        }
        let bias = Tensor::from_data(TensorData::new(bias, [batch, 1, 1, seq, seq]), device);
        Self { bias }
    }
}

/// Attention `softmax(q k^T / sqrt(head_dim) + mask) v`, several heads of the query sharing a head of key and value.
///
/// `query` is `[batch, seq, heads, head_dim]`, `key` and `value` are `[batch, seq, key_value_heads, head_dim]`, heads a
/// multiple of key_value_heads; returns `[batch, seq, heads, head_dim]`.
pub fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    mask: &AttentionMask,
) -> Tensor<4> {
    let [batch, seq, heads, head_dim] = query.dims();
    let key_value_heads = key.dims()[2];
    let group = heads / key_value_heads;
    let scale = 1.0 / (head_dim as f64).sqrt();
    // [batch, key_value_heads, group, seq, head_dim]; keys and values have a group of one, which matmul broadcasts.
    let query = query
        .mul_scalar(scale)
        .reshape([batch, seq, key_value_heads, group, head_dim])
        .permute([0, 2, 3, 1, 4]);
    let key = key.permute([0, 2, 3, 1]).unsqueeze_dim::<5>(2);
    let value = value.permute([0, 2, 1, 3]).unsqueeze_dim::<5>(2);

    let scores = query.matmul(key) + mask.bias.clone();
    let highest = scores.clone().detach().max_dim(4);
    let unnormalised = (scores - highest).exp();
    // Dividing the output by the sum of the exponentials costs head_dim divisions a query, not seq.
    let sum = unnormalised.clone().sum_dim(4);
    let output = unnormalised.matmul(value) / sum;
    output
        .permute([0, 3, 1, 2, 4])
        .reshape([batch, seq, heads, head_dim])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Gradients;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const VISIBLE_UNTIL: [u32; 10] = [2, 2, 5, 5, 5, 4, 2, 4, 4, 5];
    const SHAPE: [usize; 2] = [2, 5];
    const HEADS: usize = 4;
    const SHARED: usize = 2;
    const WIDTH: usize = 3;

    /// Head by head and query by query, in f64.
    fn expected(query: &[f32], key: &[f32], value: &[f32]) -> Vec<f64> {
        let [batch, seq] = SHAPE;
        let mut output = Vec::new();
        for (row, i, head) in (0..batch)
            .flat_map(|row| (0..seq).flat_map(move |i| (0..HEADS).map(move |head| (row, i, head))))
        {
            let q = &query[((row * seq + i) * HEADS + head) * WIDTH..][..WIDTH];
            let at = |j: usize| ((row * seq + j) * SHARED + head * SHARED / HEADS) * WIDTH;
            let seen: Vec<usize> = (0..=i)
                .filter(|j| i < VISIBLE_UNTIL[row * seq + j] as usize)
                .collect();
            let weights: Vec<f64> = seen
                .iter()
                .map(|&j| {
                    let k = &key[at(j)..][..WIDTH];
                    let product: f64 = q
                        .iter()
                        .zip(k)
                        .map(|(&a, &b)| f64::from(a) * f64::from(b))
                        .sum();
                    (product / (WIDTH as f64).sqrt()).exp()
                })
                .collect();
            let sum: f64 = weights.iter().sum();
            output.extend((0..WIDTH).map(|column| {
                let weighted = seen
                    .iter()
                    .zip(&weights)
                    .map(|(&j, w)| w * f64::from(value[at(j) + column]));
                weighted.sum::<f64>() / sum
            }));
        }
        output
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor
            .into_data_as::<f32>()
            .as_slice()
            .expect("just read as f32")
            .to_vec()
    }

    fn random(heads: usize, seed: u64, device: &Device) -> Tensor<4> {
        let shape = [SHAPE[0], SHAPE[1], heads, WIDTH];
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let draw = || generator.random_range(-2.0..2.0f32);
        let values = std::iter::repeat_with(draw)
            .take(shape.iter().product())
            .collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    #[test]
    fn it_is_the_formula_under_the_mask() {
        let device = Device::flex();
        let [query, key, value] = [(HEADS, 1), (SHARED, 2), (SHARED, 3)]
            .map(|(heads, seed)| random(heads, seed, &device));
        let mask = AttentionMask::new(SHAPE, &VISIBLE_UNTIL, &device);
        let found = values(attention(query.clone(), key.clone(), value.clone(), &mask));
        for (found, expected) in
            found
                .iter()
                .zip(expected(&values(query), &values(key), &values(value)))
        {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn gradients_are_the_slopes() {
        let device = Device::flex().autodiff();
        let inputs = [(HEADS, 4), (SHARED, 5), (SHARED, 6)]
            .map(|(heads, seed)| random(heads, seed, &device).require_grad());
        let probe = random(HEADS, 7, &device).inner();
        let mask = AttentionMask::new(SHAPE, &VISIBLE_UNTIL, &device);
        let [query, key, value] = inputs.clone();
        let output = attention(query, key, value, &mask);
        let gradients: Gradients = (output * Tensor::from_inner(probe.clone()))
            .sum()
            .backward();
        let plain = inputs.clone().map(|x| values(x.inner()));
        let probe = values(probe);
        let loss = |plain: &[Vec<f32>; 3]| -> f64 {
            let output = expected(&plain[0], &plain[1], &plain[2]);
            output
                .iter()
                .zip(&probe)
                .map(|(o, &p)| o * f64::from(p))
                .sum()
        };
        for (number, input) in inputs.iter().enumerate() {
            let gradient = values(input.grad(&gradients).expect("required"));
            for (index, found) in gradient.into_iter().enumerate() {
                let [above, below] = [1e-2, -1e-2].map(|step| {
                    let mut moved = plain.clone();
                    moved[number][index] += step;
                    (loss(&moved), f64::from(moved[number][index]))
                });
                let slope = (above.0 - below.0) / (above.1 - below.1);
                assert!(
                    (slope - f64::from(found)).abs() < 1e-3,
                    "{number} {index}: {found} {slope}"
                );
            }
        }
    }
}
