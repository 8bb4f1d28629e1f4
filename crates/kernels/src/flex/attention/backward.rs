//! The gradients, from scores that are computed again.

use rayon::prelude::*;

use super::{Shape, Sight, TILE, Tile, hide, sight, tiles};
use crate::flex::matmul::{Into, Matrix, matmul};
use crate::flex::shared::SharedMut;
use crate::flex::vector::{exp, sum_of, vectorize};
use crate::span::{Span, spans};

/// The gradient of `joined`, from those of `output`; `joined_gradient` may hold anything before.
pub(crate) fn backward(
    shape: &Shape,
    joined: &[f32],
    visible_until: &[u32],
    output: &[f32],
    log_sum_exp: &[f32],
    output_gradient: &[f32],
    joined_gradient: &mut [f32],
) {
    let Shape {
        batch,
        seq,
        heads,
        key_value_heads,
        head_dim,
    } = *shape;
    let tokens = batch * seq;
    assert!(heads.is_multiple_of(key_value_heads) && visible_until.len() == tokens);
    assert!(joined.len() == tokens * shape.width() && joined_gradient.len() == joined.len());
    assert!(output.len() == tokens * shape.output_width() && output_gradient.len() == output.len());
    assert_eq!(log_sum_exp.len(), tokens * heads);
    let gradient = SharedMut::new(joined_gradient);
    let spans = spans(shape.seq, visible_until);
    let tasks: Vec<(Span, usize)> = spans
        .iter()
        .flat_map(|&span| (0..heads).map(move |head| (span, head)))
        .collect();
    // Keys' and values' gradients of each head of the query, added up by the heads that share them below: one order of
    // addition, however many threads there are.
    let of_heads: Vec<Vec<f32>> = tasks
        .par_iter()
        .map(|&(span, head)| {
            let row = span.row;
            let mut key_value = vec![0f32; 2 * span.len() * head_dim];
            let tokens = row * seq..(row + 1) * seq;
            let inputs = Inputs {
                joined: &joined[row * seq * shape.width()..],
                visible_until: &visible_until[tokens.clone()],
                output: &output[row * seq * shape.output_width()..],
                log_sum_exp: &log_sum_exp[row * seq * heads..],
                output_gradient: &output_gradient[row * seq * shape.output_width()..],
            };
            // SAFETY: a task has its own (span, head), and writes only the numbers of that head of the query there.
            let query_gradient = |token: usize| unsafe {
                gradient.range(
                    (row * seq + token) * shape.width() + head * head_dim,
                    head_dim,
                )
            };
            backward_head(shape, &inputs, span, head, &mut key_value, query_gradient);
            key_value
        })
        .collect();
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
                    // SAFETY: a task has its own (span, head of key and value), and writes only their numbers.
                    let place = unsafe { gradient.range(token * shape.width() + column, head_dim) };
                    let at = (part * span.len() + index) * head_dim;
                    place.copy_from_slice(&of_heads[first][at..][..head_dim]);
                    for head in &of_heads[first + 1..first + group] {
                        let more = &head[at..][..head_dim];
                        place.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
                    }
                }
            }
        });
}

/// A row's numbers.
struct Inputs<'a> {
    joined: &'a [f32],
    visible_until: &'a [u32],
    output: &'a [f32],
    log_sum_exp: &'a [f32],
    output_gradient: &'a [f32],
}

fn backward_head<'a>(
    shape: &Shape,
    inputs: &Inputs<'_>,
    span: Span,
    head: usize,
    key_value_gradient: &mut [f32],
    query_gradient: impl Fn(usize) -> &'a mut [f32],
) {
    let Shape {
        head_dim, heads, ..
    } = *shape;
    let (width, output_width) = (shape.width(), shape.output_width());
    let [query, key, value] = shape.columns(head);
    let part = |tile: &Tile, column: usize| {
        Matrix::new(
            &inputs.joined[tile.start * width + column..],
            tile.len(),
            head_dim,
            width,
        )
    };
    let (key_gradient, value_gradient) = key_value_gradient.split_at_mut(span.len() * head_dim);
    let mut weights = vec![0f32; TILE * TILE];
    let mut slopes = vec![0f32; TILE * TILE];
    let mut sums = vec![0f32; TILE * head_dim];
    for queries in tiles(span.start, span.end) {
        let start = queries.start * output_width + query;
        let upper = Matrix::new(
            &inputs.output_gradient[start..],
            queries.len(),
            head_dim,
            output_width,
        );
        let mut products = [0f32; TILE];
        vectorize(|| {
            for (index, product) in products[..queries.len()].iter_mut().enumerate() {
                let at = start + index * output_width;
                let [o, g] = [inputs.output, inputs.output_gradient].map(|x| &x[at..][..head_dim]);
                *product = sum_of(o, g, |o, g| o * g);
            }
        });
        let sums = &mut sums[..queries.len() * head_dim];
        sums.fill(0.0);
        for keys in tiles(span.start, queries.end) {
            let sight = sight(inputs.visible_until, &queries, &keys);
            if sight == Sight::Nothing {
                continue;
            }
            let count = queries.len() * keys.len();
            let weights = &mut weights[..count];
            let slopes = &mut slopes[..count];
            matmul(
                weights,
                keys.len(),
                Into::Place,
                shape.scale(),
                part(&queries, query),
                part(&keys, key).transposed(),
                false,
            );
            matmul(
                slopes,
                keys.len(),
                Into::Place,
                1.0,
                upper,
                part(&keys, value).transposed(),
                false,
            );
            vectorize(|| {
                if sight == Sight::Some {
                    hide(
                        weights,
                        inputs.visible_until,
                        &queries,
                        &keys,
                        f32::NEG_INFINITY,
                    );
                }
                let rows = weights
                    .chunks_exact_mut(keys.len())
                    .zip(slopes.chunks_exact_mut(keys.len()));
                for (index, (weights, slopes)) in rows.enumerate() {
                    let log_sum_exp = inputs.log_sum_exp[(queries.start + index) * heads + head];
                    let product = products[index];
                    let scale = shape.scale();
                    for (weight, slope) in weights.iter_mut().zip(slopes) {
                        *weight = exp(*weight - log_sum_exp);
                        *slope = *weight * (*slope - product) * scale;
                    }
                }
            });
            let weights = Matrix::new(weights, queries.len(), keys.len(), keys.len());
            let slopes = Matrix::new(slopes, queries.len(), keys.len(), keys.len());
            let at = (keys.start - span.start) * head_dim;
            matmul(
                &mut value_gradient[at..],
                head_dim,
                Into::Sum,
                1.0,
                weights.transposed(),
                upper,
                false,
            );
            matmul(
                &mut key_gradient[at..],
                head_dim,
                Into::Sum,
                1.0,
                slopes.transposed(),
                part(&queries, query),
                false,
            );
            matmul(
                sums,
                head_dim,
                Into::Sum,
                1.0,
                slopes,
                part(&keys, key),
                false,
            );
        }
        for (index, sums) in sums.chunks_exact(head_dim).enumerate() {
            query_gradient(queries.start + index).copy_from_slice(sums);
        }
    }
}
