//! Each query's output, tile by tile of keys with an online softmax.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::head::Head;
use super::shape::Shape;
use super::tile::{TILE, Tile, Visibility, hide, tiles, visibility};
use crate::flex::buffer::uninitialized;
use crate::flex::disjoint::DisjointMut;
use crate::flex::matmul::{Matrix, Parallelism, Product};
use crate::flex::vector::{exp, maximum, sum_of, vectorize};
use crate::span::{Span, spans};

/// The output `[tokens, heads * head_dim]` of `qkv` `[tokens, width]`, and each query's log-sum-exp
/// `[tokens, heads]` for the backward pass.
pub(crate) fn forward(shape: &Shape, qkv: &[f32], visible_until: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let Shape {
        seq,
        heads,
        head_dim,
        ..
    } = *shape;
    assert_eq!(visible_until.len(), shape.tokens());
    assert_eq!(qkv.len(), shape.tokens() * shape.width());
    let mut output = uninitialized(shape.tokens() * shape.output_width());
    let mut log_sum_exp = uninitialized(shape.tokens() * heads);
    let outputs = DisjointMut::new(&mut output);
    let log_sum_exps = DisjointMut::new(&mut log_sum_exp);
    let tasks: Vec<(Span, usize, Tile)> = spans(seq, visible_until)
        .into_iter()
        .flat_map(|span| (0..heads).map(move |head| (span, head)))
        .flat_map(|(span, head)| {
            tiles(span.start, span.end).map(move |queries| (span, head, queries))
        })
        .collect();
    tasks.par_iter().for_each_init(
        || Softmax::new(head_dim),
        |softmax, &(span, number, queries)| {
            let head = Head::new(shape, qkv, span.row, number);
            let until = &visible_until[span.row * seq..][..seq];
            softmax.attend(&head, until, span.start, &queries);
            for index in 0..queries.len() {
                let token = span.row * seq + queries.start + index;
                let start = token * shape.output_width() + number * head_dim;
                // SAFETY: each task has its own head and queries, and writes only their elements.
                let (output, log_sum_exp) = unsafe {
                    (
                        outputs.range(start, head_dim),
                        log_sum_exps.range(token * heads + number, 1),
                    )
                };
                softmax.finish(index, output);
                log_sum_exp[0].write(softmax.log_sum_exp(index));
            }
        },
    );
    // SAFETY: the spans hold every token, the tiles of a span all its tokens, and there is a task
    // for each tile and head, which wrote the outputs and the log-sum-exp of its queries.
    unsafe {
        (
            output.assume_init().into_vec(),
            log_sum_exp.assume_init().into_vec(),
        )
    }
}

/// The online softmax of a tile of queries: over the keys so far, each query's maximum score, sum
/// of `exp(score - maximum)`, and sum of the values so weighted.
struct Softmax {
    /// Room for the scores of a tile, `[queries, keys]`.
    scores: Box<[MaybeUninit<f32>]>,
    highest: [f32; TILE],
    total: [f32; TILE],
    /// `[queries, head_dim]`.
    weighted: Vec<f32>,
    head_dim: usize,
}

impl Softmax {
    fn new(head_dim: usize) -> Self {
        Self {
            scores: uninitialized(TILE * TILE),
            highest: [f32::NEG_INFINITY; TILE],
            total: [0.0; TILE],
            weighted: vec![0.0; TILE * head_dim],
            head_dim,
        }
    }

    /// Begins anew with these queries, which meet all keys from `first_key` on.
    fn attend(&mut self, head: &Head<'_>, visible_until: &[u32], first_key: usize, queries: &Tile) {
        let head_dim = self.head_dim;
        let Self {
            scores,
            highest,
            total,
            weighted,
            ..
        } = self;
        let weighted = &mut weighted[..queries.len() * head_dim];
        highest.fill(f32::NEG_INFINITY);
        total.fill(0.0);
        weighted.fill(0.0);
        for keys in tiles(first_key, queries.end) {
            let visibility = visibility(visible_until, queries, &keys);
            if visibility == Visibility::None {
                continue;
            }
            let scores = &mut scores[..queries.len() * keys.len()];
            let scores = head.scores(queries, &keys).overwrite(scores);
            vectorize(|| {
                if visibility == Visibility::Partial {
                    hide(scores, visible_until, queries, &keys);
                }
                let rows = scores
                    .chunks_exact_mut(keys.len())
                    .zip(weighted.chunks_exact_mut(head_dim))
                    .zip(highest.iter_mut().zip(total.iter_mut()));
                for ((scores, weighted), (highest, total)) in rows {
                    add_keys(scores, weighted, highest, total);
                }
            });
            let weights = Matrix::new(scores, queries.len(), keys.len());
            Product::new(weights, head.value(&keys), Parallelism::Serial).accumulate(weighted);
        }
    }

    /// Writes a query's output.
    fn finish(&self, index: usize, output: &mut [MaybeUninit<f32>]) {
        let factor = self.total[index].recip();
        let weighted = &self.weighted[index * self.head_dim..][..output.len()];
        for (output, weighted) in output.iter_mut().zip(weighted) {
            output.write(weighted * factor);
        }
    }

    fn log_sum_exp(&self, index: usize) -> f32 {
        self.highest[index] + self.total[index].ln()
    }
}

/// Turns a query's scores into `exp(score - maximum)`, and brings its maximum and sums up to date,
/// but for the values of these keys.
#[inline(always)]
fn add_keys(scores: &mut [f32], weighted: &mut [f32], highest: &mut f32, total: &mut f32) {
    let before = *highest;
    let now = before.max(maximum(scores));
    if now == f32::NEG_INFINITY {
        scores.fill(0.0);
        return;
    }
    for score in &mut *scores {
        *score = exp(*score - now);
    }
    let rescale = exp(before - now);
    *highest = now;
    *total = *total * rescale + sum_of(scores, scores, |x, _| x);
    if rescale != 1.0 {
        weighted.iter_mut().for_each(|sum| *sum *= rescale);
    }
}
