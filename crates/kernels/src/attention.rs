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
