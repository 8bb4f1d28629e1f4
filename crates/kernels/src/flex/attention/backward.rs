//! The gradients, from scores that are computed again.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::head::Head;
use super::shape::Shape;
use super::tile::{TILE, Tile, Visibility, hide, tiles, visibility};
use crate::flex::buffer::uninitialized;
use crate::flex::disjoint::DisjointMut;
use crate::flex::matmul::{Matrix, Output, Parallelism, Product};
use crate::flex::vector::{exp, sum_of, vectorize};
use crate::span::{Span, spans};

/// What the forward pass was given and what it returned.
#[derive(Clone, Copy)]
pub(crate) struct Attended<'a> {
    /// `[tokens, width]`.
    pub(crate) qkv: &'a [f32],
    /// `[tokens, output width]`.
    pub(crate) output: &'a [f32],
    /// `[tokens, heads]`.
    pub(crate) log_sum_exp: &'a [f32],
}

/// The gradient of `qkv`, from that of the output.
pub(crate) fn backward(
    shape: &Shape,
    attended: &Attended<'_>,
    visible_until: &[u32],
    grad_output: &[f32],
) -> Vec<f32> {
    let Shape { seq, heads, .. } = *shape;
    let tokens = shape.tokens();
    assert!(heads.is_multiple_of(shape.key_value_heads) && visible_until.len() == tokens);
    assert_eq!(attended.qkv.len(), tokens * shape.width());
    assert_eq!(attended.output.len(), tokens * shape.output_width());
    assert_eq!(grad_output.len(), attended.output.len());
    assert_eq!(attended.log_sum_exp.len(), tokens * heads);
    let mut grad_qkv = uninitialized(attended.qkv.len());
    let grad = DisjointMut::new(&mut grad_qkv);
    let spans = spans(seq, visible_until);
    let tasks: Vec<(Span, usize)> = spans
        .iter()
        .flat_map(|&span| (0..heads).map(move |head| (span, head)))
        .collect();
    // Gradients of key and value by head of the query. `sum_groups` adds up those of heads that
    // share a key and value: in one order, whatever the number of threads.
    let grad_key_value: Vec<Vec<f32>> = tasks
        .par_iter()
        .map(|&(span, number)| {
            let inputs = HeadInputs {
                shape,
                head: Head::new(shape, attended.qkv, span.row, number),
                number,
                attended,
                visible_until: &visible_until[span.row * seq..][..seq],
                grad_output,
                span,
            };
            inputs.backward(|token| {
                let start = token * shape.width() + number * shape.head_dim;
                // SAFETY: each task has its own span and head, and writes only the gradients of
                // that head's queries there.
                unsafe { grad.range(start, shape.head_dim) }
            })
        })
        .collect();
    sum_groups(shape, &spans, &grad_key_value, grad);
    // SAFETY: the spans hold every token. `HeadInputs::backward` wrote the gradients of all heads
    // of the query, `sum_groups` those of all heads of key and value.
    unsafe { grad_qkv.assume_init() }.into_vec()
}

/// Writes the gradients of keys and values: the sums over the heads of the query that share them.
/// `parts` has one part for each span and head of the query, as [`HeadInputs::backward`] returns
/// it.
fn sum_groups(shape: &Shape, spans: &[Span], parts: &[Vec<f32>], grad: DisjointMut<'_>) {
    let Shape {
        seq,
        heads,
        key_value_heads,
        head_dim,
        ..
    } = *shape;
    let group = heads / key_value_heads;
    (0..spans.len() * key_value_heads)
        .into_par_iter()
        .for_each(|task| {
            let (number, shared) = (task / key_value_heads, task % key_value_heads);
            let span = spans[number];
            let first = number * heads + shared * group;
            for (part, offset) in [(0, heads), (1, heads + key_value_heads)] {
                for index in 0..span.len() {
                    let token = span.row * seq + span.start + index;
                    let column = (offset + shared) * head_dim;
                    // SAFETY: each task has its own span and head of key and value, and writes only
                    // their gradients.
                    let sums = unsafe { grad.range(token * shape.width() + column, head_dim) };
                    let start = (part * span.len() + index) * head_dim;
                    let sums = sums.write_copy_of_slice(&parts[first][start..][..head_dim]);
                    for head in &parts[first + 1..first + group] {
                        let more = &head[start..][..head_dim];
                        sums.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
                    }
                }
            }
        });
}

/// What the backward pass of one head of the query in one span is computed from.
struct HeadInputs<'a> {
    shape: &'a Shape,
    head: Head<'a>,
    number: usize,
    attended: &'a Attended<'a>,
    /// Of the span's row.
    visible_until: &'a [u32],
    grad_output: &'a [f32],
    span: Span,
}

/// Room for the weights and gradients of the scores of a tile, `[queries, keys]` each.
struct Scratch {
    weights: Box<[MaybeUninit<f32>]>,
    grad_scores: Box<[MaybeUninit<f32>]>,
}

impl HeadInputs<'_> {
    /// Writes each query's gradient where `grad_query` says for its token of the batch, and returns
    /// the gradients of keys, then of values: `[2, span, head_dim]`.
    fn backward<'o>(&self, grad_query: impl Fn(usize) -> &'o mut [MaybeUninit<f32>]) -> Vec<f32> {
        let Self { shape, span, .. } = *self;
        let head_dim = shape.head_dim;
        let mut grad_key_value = vec![0f32; 2 * span.len() * head_dim];
        let (grad_key, grad_value) = grad_key_value.split_at_mut(span.len() * head_dim);
        let mut scratch = Scratch {
            weights: uninitialized(TILE * TILE),
            grad_scores: uninitialized(TILE * TILE),
        };
        let mut sums = vec![0f32; TILE * head_dim];
        for queries in tiles(span.start, span.end) {
            let means = self.mean_grads(&queries);
            let grad_output = self.grad_output(&queries);
            let sums = &mut sums[..queries.len() * head_dim];
            sums.fill(0.0);
            for keys in tiles(span.start, queries.end) {
                let visibility = visibility(self.visible_until, &queries, &keys);
                if visibility == Visibility::None {
                    continue;
                }
                let (weights, grad_scores) =
                    self.grad_scores(&queries, &keys, visibility, &means, &mut scratch);
                let start = (keys.start - span.start) * head_dim;
                let accumulate = |left, right, output| {
                    Product::new(left, right, Parallelism::Serial)
                        .write(Output::Accumulate(output), head_dim);
                };
                let queried = self.head.query(&queries);
                accumulate(weights.transposed(), grad_output, &mut grad_value[start..]);
                accumulate(grad_scores.transposed(), queried, &mut grad_key[start..]);
                accumulate(grad_scores, self.head.key(&keys), sums);
            }
            for (index, sums) in sums.chunks_exact(head_dim).enumerate() {
                let token = span.row * shape.seq + queries.start + index;
                grad_query(token).write_copy_of_slice(sums);
            }
        }
        grad_key_value
    }

    /// Where a query's elements begin in output and grad_output.
    fn output_start(&self, query: usize) -> usize {
        let token = self.span.row * self.shape.seq + query;
        token * self.shape.output_width() + self.number * self.shape.head_dim
    }

    fn grad_output(&self, queries: &Tile) -> Matrix<'_> {
        Matrix::strided(
            &self.grad_output[self.output_start(queries.start)..],
            queries.len(),
            self.shape.head_dim,
            self.shape.output_width(),
        )
    }

    /// The mean of each query's gradients of the weights, under those weights:
    /// `output . grad_output`.
    fn mean_grads(&self, queries: &Tile) -> [f32; TILE] {
        let mut means = [0f32; TILE];
        vectorize(|| {
            for (query, mean) in (queries.start..queries.end).zip(&mut means) {
                let start = self.output_start(query);
                let [output, grad_output] = [self.attended.output, self.grad_output]
                    .map(|values| &values[start..][..self.shape.head_dim]);
                *mean = sum_of(output, grad_output, |o, g| o * g);
            }
        });
        means
    }

    /// The weights of a tile, which are the softmax of the scores, and the gradients of the scores:
    /// `weight * (grad_weight - mean) * scale`. The gradient is that of `q k^T`.
    fn grad_scores<'s>(
        &self,
        queries: &Tile,
        keys: &Tile,
        visibility: Visibility,
        means: &[f32; TILE],
        scratch: &'s mut Scratch,
    ) -> (Matrix<'s>, Matrix<'s>) {
        let count = queries.len() * keys.len();
        let weights = self
            .head
            .scores(queries, keys)
            .overwrite(&mut scratch.weights[..count]);
        let grad_weights = Product::new(
            self.grad_output(queries),
            self.head.value(keys).transposed(),
            Parallelism::Serial,
        );
        let grad_scores = grad_weights.overwrite(&mut scratch.grad_scores[..count]);
        let scale = self.shape.scale();
        vectorize(|| {
            if visibility == Visibility::Partial {
                hide(weights, self.visible_until, queries, keys);
            }
            let rows = weights
                .chunks_exact_mut(keys.len())
                .zip(grad_scores.chunks_exact_mut(keys.len()));
            for ((query, &mean), (weights, grad_scores)) in (queries.start..).zip(means).zip(rows) {
                let token = self.span.row * self.shape.seq + query;
                let log_sum_exp = self.attended.log_sum_exp[token * self.shape.heads + self.number];
                for (weight, grad) in weights.iter_mut().zip(grad_scores) {
                    *weight = exp(*weight - log_sum_exp);
                    *grad = *weight * (*grad - mean) * scale;
                }
            }
        });
        let matrix = |values: &'s [f32]| Matrix::new(values, queries.len(), keys.len());
        (matrix(weights), matrix(grad_scores))
    }
}
