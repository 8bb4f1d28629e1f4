//! Grouped-query attention under the mask of a batch.

use burn::tensor::Tensor;

use crate::attention_mask::{AttentionMask, SpanRows};
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube;
use crate::flex;
use crate::half_precision::{in_f32, is_half};
use crate::operations::{self, attention::Context};
use crate::rope::apply_rotary_reference;
use crate::rotary_embedding::RotaryEmbedding;

/// The heads of a grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionHeads {
    /// Heads of the query, a multiple of those of key and value.
    pub query: usize,
    /// Heads of key and value.
    pub key_value: usize,
    /// Width of a head.
    pub head_dim: usize,
}

/// Grouped-query attention `softmax(q k^T / sqrt(head_dim) + mask) v` with rotary position
/// embeddings.
///
/// `qkv` is `[batch * seq, (query + 2 * key_value) * head_dim]`: the heads of query, key and value
/// side by side, as one product with the three weights leaves them, not yet rotated. Returns
/// `[batch * seq, query * head_dim]`.
///
/// On flex and on a GPU this goes tile by tile with an online softmax, and the backward pass
/// computes the scores again (Dao et al. 2022, arXiv 2205.14135): the scores of all pairs are never
/// held, and tiles that the mask hides are not computed. Elsewhere it is [`attention_reference`]
/// for each span (a run of tokens that attend only to each other) by itself.
///
/// A tensor in half precision is computed in f32, and the result rounded to its type. On a GPU that
/// has bf16 its kernels read and write it; elsewhere it is cast.
///
/// # Panics
///
/// Where there are no heads, or the query's are no multiple of those of key and value. Where
/// heads, mask, rotary embedding and `qkv` do not fit each other's shapes. Each is a bug of the
/// caller.
pub fn attention(
    qkv: Tensor<2>,
    heads: AttentionHeads,
    rotary: &RotaryEmbedding,
    mask: &AttentionMask,
) -> Tensor<2> {
    check_shapes(&qkv, heads, rotary, mask);
    if !has_kernels(&qkv, heads) {
        return match is_half(&qkv) {
            true => in_f32(qkv, |qkv| attention(qkv, heads, rotary, mask)),
            false => by_rows(qkv, heads, rotary, mask, mask.span_rows()),
        };
    }
    let [batch, seq] = mask.shape;
    let context = Context {
        shape: flex::attention::Shape {
            batch,
            seq,
            heads: heads.query,
            key_value_heads: heads.key_value,
            head_dim: heads.head_dim,
        },
        mask: mask.clone(),
        rotary: rotary.clone(),
    };
    operations::attention::attention(qkv, context)
}

/// [`attention`] as a chain of Burn operations that holds the scores of all pairs of a row's
/// tokens.
///
/// # Panics
///
/// As [`attention`].
pub fn attention_reference(
    qkv: Tensor<2>,
    heads: AttentionHeads,
    rotary: &RotaryEmbedding,
    mask: &AttentionMask,
) -> Tensor<2> {
    check_shapes(&qkv, heads, rotary, mask);
    by_rows(qkv, heads, rotary, mask, None)
}

/// A GPU's kernel needs its tiles of a head in shared memory.
#[cfg_attr(
    not(any(feature = "cuda", feature = "wgpu")),
    allow(
        unused_variables,
        reason = "the CPU's kernel takes heads of every width"
    )
)]
fn has_kernels(qkv: &Tensor<2>, heads: AttentionHeads) -> bool {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if cube::supports(qkv) {
        return cube::attention::fits(qkv, heads.head_dim);
    }
    flex::supports(qkv)
}

fn check_shapes(
    qkv: &Tensor<2>,
    heads: AttentionHeads,
    rotary: &RotaryEmbedding,
    mask: &AttentionMask,
) {
    let AttentionHeads {
        query,
        key_value,
        head_dim,
    } = heads;
    assert!(
        query > 0 && key_value > 0 && head_dim > 0 && query.is_multiple_of(key_value),
        "the query's heads are no multiple of those of key and value, or there are none: {heads:?}"
    );
    let [batch, seq] = mask.shape;
    assert_eq!(
        qkv.dims(),
        [batch * seq, (query + 2 * key_value) * head_dim],
        "the shape of qkv for {heads:?} and {batch} rows of {seq} tokens"
    );
    rotary.check_shape(mask.shape, head_dim);
}

/// In Burn operations, with the rows of the batch or with those of its spans.
fn by_rows(
    qkv: Tensor<2>,
    heads: AttentionHeads,
    rotary: &RotaryEmbedding,
    mask: &AttentionMask,
    span_rows: Option<&SpanRows>,
) -> Tensor<2> {
    let [batch, seq] = mask.shape;
    let AttentionHeads {
        query,
        key_value,
        head_dim,
    } = heads;
    let width = query * head_dim;
    // Not every backend has a maximum of no scores.
    if batch * seq == 0 {
        return qkv.slice([0..0, 0..width]);
    }
    let part = |first: usize, heads: usize| {
        let columns = first * head_dim..(first + heads) * head_dim;
        qkv.clone()
            .slice([0..batch * seq, columns])
            .reshape([batch, seq, heads, head_dim])
    };
    let parts = [
        apply_rotary_reference(part(0, query), rotary),
        apply_rotary_reference(part(query, key_value), rotary),
        part(query + key_value, key_value),
    ];
    let Some(rows) = span_rows else {
        return attend(parts, mask).reshape([batch * seq, width]);
    };
    let [spans, longest] = rows.mask.shape;
    let parts = parts.map(|part| {
        let heads = part.dims()[2];
        part.reshape([batch * seq, heads * head_dim])
            .select(0, rows.from.clone())
            .reshape([spans, longest, heads, head_dim])
    });
    attend(parts, &rows.mask)
        .reshape([spans * longest, width])
        .select(0, rows.to.clone())
}

/// The query is `[batch, seq, heads, head_dim]`, key and value are `[batch, seq, key_value_heads,
/// head_dim]`. Returns `[batch, seq, heads, head_dim]`.
fn attend([query, key, value]: [Tensor<4>; 3], mask: &AttentionMask) -> Tensor<4> {
    let [batch, seq, heads, head_dim] = query.dims();
    let key_value_heads = key.dims()[2];
    let group = heads / key_value_heads;
    let scale = 1.0 / (head_dim as f64).sqrt();
    // [batch, key_value_heads, group, seq, head_dim]; keys and values have a group of one, which
    // matmul broadcasts.
    let query = query
        .mul_scalar(scale)
        .reshape([batch, seq, key_value_heads, group, head_dim])
        .permute([0, 2, 3, 1, 4]);
    let key = key.permute([0, 2, 3, 1]).unsqueeze_dim::<5>(2);
    let value = value.permute([0, 2, 1, 3]).unsqueeze_dim::<5>(2);

    let scores = query.matmul(key) + mask.bias();
    let highest = scores.clone().detach().max_dim(4);
    let exponentials = (scores - highest).exp();
    // Dividing the output rather than the weights takes head_dim divisions per query, not seq.
    let sum = exponentials.clone().sum_dim(4);
    let output = exponentials.matmul(value) / sum;
    output
        .permute([0, 3, 1, 2, 4])
        .reshape([batch, seq, heads, head_dim])
}

#[cfg(test)]
mod tests;
