//! Grouped-query attention under the mask of a batch.

use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::flex;
use crate::flex::operations::attention::Pattern;
use crate::span::{Span, spans};
use crate::{Rotations, rotate_reference};

/// Heads of a grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionHeads {
    /// Heads of the query: a multiple of those of key and value.
    pub query: usize,
    /// Heads of key and value.
    pub key_value: usize,
    /// Numbers of a head.
    pub head_dim: usize,
}

/// Who sees whom in a batch: within a row, token j is seen by the queries `j..visible_until[j]`.
///
/// One integer a token holds causal attention, packed documents, shared prefixes and padding (compare FlashMask,
/// arXiv 2410.01359). Built once a forward pass.
#[derive(Debug, Clone)]
pub struct AttentionMask {
    /// `[batch, seq]`.
    shape: [usize; 2],
    /// `[batch * seq]`.
    visible_until: Arc<[u32]>,
    device: Device,
    /// What the plain form needs, made when it is first asked for: `[batch, 1, 1, seq, seq]` (query, key), 0 where the
    /// query sees the key, minus infinity elsewhere.
    bias: Arc<OnceLock<Tensor<5>>>,
    /// The batch with a row for each span, where that leaves fewer pairs of tokens; made when it is first asked for.
    span_rows: Arc<OnceLock<Option<SpanRows>>>,
}

/// A batch with a row for each of its spans.
#[derive(Debug)]
struct SpanRows {
    /// `[spans, longest]`.
    mask: Box<AttentionMask>,
    /// `[spans * longest]`: the token of the batch that stands there; any where none does.
    from: Tensor<1, Int>,
    /// `[batch * seq]`: where each token of the batch stands.
    to: Tensor<1, Int>,
}

impl AttentionMask {
    /// From `visible_until` (`[batch * seq]`, `shape` being `[batch, seq]`). Every token must be seen by itself, so
    /// that no softmax is empty; a padding token is seen by itself alone. Ranges need not be nested.
    ///
    /// # Panics
    ///
    /// Where there is not one entry a token, or where token j of a row does not have `j < visible_until[j] <= seq`: the
    /// caller's bug.
    pub fn new(shape: [usize; 2], visible_until: &[u32], device: &Device) -> Self {
        let [batch, seq] = shape;
        assert_eq!(
            visible_until.len(),
            batch * seq,
            "a mask of {batch} rows of {seq} tokens has an entry a token"
        );
        for (flat, &until) in visible_until.iter().enumerate() {
            let (row, token) = (flat / seq, flat % seq);
            assert!(
                (token + 1..=seq).contains(&(until as usize)),
                "row {row}, token {token}: visible until {until}, not until {} to {seq}",
                token + 1
            );
        }
        Self {
            shape,
            visible_until: visible_until.into(),
            device: device.clone(),
            bias: Arc::default(),
            span_rows: Arc::default(),
        }
    }

    fn span_rows(&self) -> Option<&SpanRows> {
        let make = || {
            let [batch, seq] = self.shape;
            let spans = spans(seq, &self.visible_until);
            let longest = spans.iter().map(Span::len).max()?;
            if spans.len() * longest * longest >= batch * seq * seq {
                return None;
            }
            // A place without a token sees itself, so that no softmax is empty, and shows some token, which nobody asks for.
            let mut until: Vec<u32> = (0..spans.len()).flat_map(|_| 1..=longest as u32).collect();
            let mut from = vec![0i64; spans.len() * longest];
            let mut to = vec![0i64; batch * seq];
            for (number, span) in spans.iter().enumerate() {
                for index in 0..span.len() {
                    let token = span.row * seq + span.start + index;
                    let place = number * longest + index;
                    until[place] = self.visible_until[token] - span.start as u32;
                    from[place] = token as i64;
                    to[token] = place as i64;
                }
            }
            let index = |values: Vec<i64>| {
                let count = values.len();
                Tensor::from_data(TensorData::new(values, [count]), &self.device)
            };
            Some(SpanRows {
                mask: Box::new(Self::new([spans.len(), longest], &until, &self.device)),
                from: index(from),
                to: index(to),
            })
        };
        self.span_rows.get_or_init(make).as_ref()
    }

    fn bias(&self) -> Tensor<5> {
        let make = || {
            let [batch, seq] = self.shape;
            let mut bias = vec![f32::NEG_INFINITY; batch * seq * seq];
            for (flat, &until) in self.visible_until.iter().enumerate() {
                let (row, key) = (flat / seq, flat % seq);
                for query in key..until as usize {
                    bias[(row * seq + query) * seq + key] = 0.0;
                }
            }
            let data = TensorData::new(bias, [batch, 1, 1, seq, seq]);
            Tensor::from_data(data, &self.device)
        };
        self.bias.get_or_init(make).clone()
    }
}

/// Attention `softmax(q k^T / sqrt(head_dim) + mask) v` with rotary positions, several heads of the query sharing a head of
/// key and value.
///
/// `joined` is `[batch * seq, (query + 2 * key_value) * head_dim]`: the heads of query, key and value side by side, as one
/// product with the three weights leaves them, not yet rotated. Returns `[batch * seq, query * head_dim]`.
///
/// On flex by tiles with an online softmax and a backward pass that computes the scores again (Dao et al. 2022, arXiv
/// 2205.14135): the scores of all pairs are never held, and tiles that the mask hides are not computed. Elsewhere
/// [`attention_reference`], of each span of tokens that sees no other by itself.
///
/// # Panics
///
/// Where there are no heads or the query's are not a multiple of those of key and value, where `joined` has another shape
/// than heads and mask say, or where the rotations are of another shape or head: the caller's bug.
pub fn attention(
    joined: Tensor<2>,
    heads: AttentionHeads,
    rotations: &Rotations,
    mask: &AttentionMask,
) -> Tensor<2> {
    check_shapes(&joined, heads, rotations, mask);
    if !flex::takes(&joined) {
        return plain(joined, heads, rotations, mask, mask.span_rows());
    }
    let [batch, seq] = mask.shape;
    let pattern = Pattern {
        shape: flex::attention::Shape {
            batch,
            seq,
            heads: heads.query,
            key_value_heads: heads.key_value,
            head_dim: heads.head_dim,
        },
        visible_until: mask.visible_until.clone(),
        cosines: rotations.cosines.clone(),
        sines: rotations.sines.clone(),
    };
    flex::operations::attention::attention(joined, pattern)
}

/// The same as a plain chain of Burn operations that holds the scores of all pairs of a row's tokens.
///
/// # Panics
///
/// As [`attention`] does.
pub fn attention_reference(
    joined: Tensor<2>,
    heads: AttentionHeads,
    rotations: &Rotations,
    mask: &AttentionMask,
) -> Tensor<2> {
    check_shapes(&joined, heads, rotations, mask);
    plain(joined, heads, rotations, mask, None)
}

fn check_shapes(
    joined: &Tensor<2>,
    heads: AttentionHeads,
    rotations: &Rotations,
    mask: &AttentionMask,
) {
    let AttentionHeads {
        query,
        key_value,
        head_dim,
    } = heads;
    assert!(
        query > 0 && key_value > 0 && head_dim > 0 && query.is_multiple_of(key_value),
        "the query's heads are not a multiple of those of key and value, or there are none: {heads:?}"
    );
    let [batch, seq] = mask.shape;
    assert_eq!(
        joined.dims(),
        [batch * seq, (query + 2 * key_value) * head_dim],
        "the shape of the joined heads {heads:?} of {batch} rows of {seq} tokens"
    );
    rotations.check_shape(mask.shape, head_dim);
}

/// In Burn operations, with the batch's own rows or with those of its spans.
fn plain(
    joined: Tensor<2>,
    heads: AttentionHeads,
    rotations: &Rotations,
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
    // Not every backend has the maximum of no scores.
    if batch * seq == 0 {
        return joined.slice([0..0, 0..width]);
    }
    let part = |first: usize, heads: usize| {
        let columns = first * head_dim..(first + heads) * head_dim;
        joined
            .clone()
            .slice([0..batch * seq, columns])
            .reshape([batch, seq, heads, head_dim])
    };
    let parts = [
        rotate_reference(part(0, query), rotations),
        rotate_reference(part(query, key_value), rotations),
        part(query + key_value, key_value),
    ];
    let Some(rows) = span_rows else {
        return plain_attention(parts, mask).reshape([batch * seq, width]);
    };
    let [spans, longest] = rows.mask.shape;
    let parts = parts.map(|part| {
        let heads = part.dims()[2];
        part.reshape([batch * seq, heads * head_dim])
            .select(0, rows.from.clone())
            .reshape([spans, longest, heads, head_dim])
    });
    plain_attention(parts, &rows.mask)
        .reshape([spans * longest, width])
        .select(0, rows.to.clone())
}

/// The query is `[batch, seq, heads, head_dim]`, key and value are `[batch, seq, key_value_heads, head_dim]`; returns
/// `[batch, seq, heads, head_dim]`.
fn plain_attention([query, key, value]: [Tensor<4>; 3], mask: &AttentionMask) -> Tensor<4> {
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

    let scores = query.matmul(key) + mask.bias();
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
mod tests;
