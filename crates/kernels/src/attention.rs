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
    /// that no softmax is empty.
    pub fn new(shape: [usize; 2], visible_until: &[u32], device: &Device) -> Self {
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
pub fn attention(
    joined: Tensor<2>,
    heads: AttentionHeads,
    rotations: &Rotations,
    mask: &AttentionMask,
) -> Tensor<2> {
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
pub fn attention_reference(
    joined: Tensor<2>,
    heads: AttentionHeads,
    rotations: &Rotations,
    mask: &AttentionMask,
) -> Tensor<2> {
    plain(joined, heads, rotations, mask, None)
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
    let width = query * head_dim;
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
mod tests {
    use super::*;
    use burn::tensor::{Gradients, Tolerance};
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
        let found = values(plain_attention(
            [query.clone(), key.clone(), value.clone()],
            &mask,
        ));
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
        let output = plain_attention(inputs.clone(), &mask);
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

    #[test]
    fn tiles_equal_the_chain_in_value_and_gradient_under_random_trees() {
        let device = Device::flex().autodiff();
        for (seed, (batch, seq, query, key_value, head_dim)) in (0u64..).zip([
            (1, 1, 1, 1, 2),
            (2, 70, 4, 2, 6),
            (1, 131, 3, 1, 64),
            (2, 65, 2, 2, 80),
            (1, 33, 2, 1, 128),
        ]) {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            let heads = AttentionHeads {
                query,
                key_value,
                head_dim,
            };
            let until: Vec<u32> = (0..batch)
                .flat_map(|_| crate::flex::attention::random_tree(&mut generator, seq))
                .collect();
            let mask = AttentionMask::new([batch, seq], &until, &device);
            let positions: Vec<u32> = (0..(batch * seq) as u32).map(|i| i * 11 % 90).collect();
            let frequencies: Vec<f32> = (0..head_dim / 2).map(|i| 0.9f32.powi(i as i32)).collect();
            let rotations = Rotations::new([batch, seq], &positions, &frequencies, &device);
            let mut random = |width: usize| {
                let draw = || generator.random_range(-1.5..1.5f32);
                let values: Vec<f32> = std::iter::repeat_with(draw)
                    .take(batch * seq * width)
                    .collect();
                Tensor::<2>::from_data(TensorData::new(values, [batch * seq, width]), &device)
            };
            let joined = random((query + 2 * key_value) * head_dim).require_grad();
            let upper = random(query * head_dim);
            let by_spans = |joined, heads, rotations: &_, mask: &AttentionMask| {
                plain(joined, heads, rotations, mask, mask.span_rows())
            };
            type Form<'a> =
                &'a dyn Fn(Tensor<2>, AttentionHeads, &Rotations, &AttentionMask) -> Tensor<2>;
            let forms: [Form; 3] = [&attention, &attention_reference, &by_spans];
            let [fused, plain, by_spans] = forms.map(|attention| {
                let output = attention(joined.clone(), heads, &rotations, &mask);
                let gradients = (output.clone() * upper.clone()).sum().backward();
                let gradient = joined.grad(&gradients).expect("tracked");
                (output.into_data(), gradient.into_data())
            });
            let tolerance = Tolerance::<f32>::rel_abs(1e-4, 2e-5);
            fused.0.assert_approx_eq(&plain.0, tolerance);
            fused.1.assert_approx_eq(&plain.1, tolerance);
            by_spans.0.assert_approx_eq(&plain.0, tolerance);
            by_spans.1.assert_approx_eq(&plain.1, tolerance);
        }
    }
}
