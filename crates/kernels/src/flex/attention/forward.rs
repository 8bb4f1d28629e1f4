//! What each query sees: tile by tile of keys, with the online softmax.

use rayon::prelude::*;

use super::{Shape, Sight, TILE, Tile, hide, sight, tiles};
use crate::flex::matmul::{Into, Matrix, matmul};
use crate::flex::shared::SharedMut;
use crate::flex::vector::{exp, maximum, sum_of, vectorize};
use crate::span::{Span, spans};

/// `output` `[tokens, heads * head_dim]` and, for the backward pass, each query's log-sum-exp `[tokens, heads]`, of
/// `joined` `[tokens, width]`. Both may hold anything before.
pub(crate) fn forward(
    shape: &Shape,
    joined: &[f32],
    visible_until: &[u32],
    output: &mut [f32],
    log_sum_exp: &mut [f32],
) {
    let Shape {
        batch, seq, heads, ..
    } = *shape;
    assert_eq!(visible_until.len(), batch * seq);
    assert_eq!(joined.len(), batch * seq * shape.width());
    assert_eq!(output.len(), batch * seq * shape.output_width());
    assert_eq!(log_sum_exp.len(), batch * seq * heads);
    let output = SharedMut::new(output);
    let log_sum_exp = SharedMut::new(log_sum_exp);
    let tasks: Vec<(Span, usize, Tile)> = spans(shape.seq, visible_until)
        .into_iter()
        .flat_map(|span| (0..heads).map(move |head| (span, head)))
        .flat_map(|(span, head)| {
            tiles(span.start, span.end).map(move |queries| (span, head, queries))
        })
        .collect();
    tasks.par_iter().for_each_init(
        || (vec![0f32; TILE * TILE], vec![0f32; TILE * shape.head_dim]),
        |(scores, sums), &(Span { row, start, .. }, head, queries)| {
            let joined = &joined[row * seq * shape.width()..];
            let until = &visible_until[row * seq..][..seq];
            let sums = &mut sums[..queries.len() * shape.head_dim];
            let mut highest = [f32::NEG_INFINITY; TILE];
            let mut total = [0f32; TILE];
            attend(
                shape,
                joined,
                until,
                head,
                start,
                &queries,
                scores,
                sums,
                &mut highest,
                &mut total,
            );
            for (index, sums) in sums.chunks_exact(shape.head_dim).enumerate() {
                let token = row * seq + queries.start + index;
                let place = token * shape.output_width() + head * shape.head_dim;
                // SAFETY: a task has its own (row, head, queries), and writes only their numbers.
                let output = unsafe { output.range(place, shape.head_dim) };
                let factor = total[index].recip();
                output
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(o, s)| *o = s * factor);
                // SAFETY: as above.
                let place = unsafe { log_sum_exp.range(token * heads + head, 1) };
                place[0] = highest[index] + total[index].ln();
            }
        },
    );
}

/// The tiles of keys from `first_key` on that a tile of queries sees: weighted sums of the values, and the softmax's maximum and sum.
#[allow(
    clippy::too_many_arguments,
    reason = "scratch is passed so that it is reused"
)]
fn attend(
    shape: &Shape,
    joined: &[f32],
    visible_until: &[u32],
    head: usize,
    first_key: usize,
    queries: &Tile,
    scores: &mut [f32],
    sums: &mut [f32],
    highest: &mut [f32; TILE],
    total: &mut [f32; TILE],
) {
    let (width, head_dim) = (shape.width(), shape.head_dim);
    let [query, key, value] = shape.columns(head);
    let part = |tile: &Tile, column: usize| {
        Matrix::new(
            &joined[tile.start * width + column..],
            tile.len(),
            head_dim,
            width,
        )
    };
    let mut is_first = true;
    for keys in tiles(first_key, queries.end) {
        let sight = sight(visible_until, queries, &keys);
        if sight == Sight::Nothing {
            continue;
        }
        let scores = &mut scores[..queries.len() * keys.len()];
        matmul(
            scores,
            keys.len(),
            Into::Place,
            shape.scale(),
            part(queries, query),
            part(&keys, key).transposed(),
            false,
        );
        vectorize(|| {
            if sight == Sight::Some {
                hide(scores, visible_until, queries, &keys, f32::NEG_INFINITY);
            }
            for (index, row) in scores.chunks_exact_mut(keys.len()).enumerate() {
                let before = highest[index];
                let now = before.max(maximum(row));
                if now == f32::NEG_INFINITY {
                    row.fill(0.0);
                    if is_first {
                        sums[index * head_dim..][..head_dim].fill(0.0);
                    }
                    continue;
                }
                for score in &mut *row {
                    *score = exp(*score - now);
                }
                let kept = exp(before - now);
                highest[index] = now;
                total[index] = total[index] * kept + sum_of(row, row, |x, _| x);
                let sums = &mut sums[index * head_dim..][..head_dim];
                if is_first {
                    sums.fill(0.0);
                } else if kept != 1.0 {
                    sums.iter_mut().for_each(|sum| *sum *= kept);
                }
            }
        });
        is_first = false;
        matmul(
            sums,
            head_dim,
            Into::Sum,
            1.0,
            Matrix::new(scores, queries.len(), keys.len(), keys.len()),
            part(&keys, value),
            false,
        );
    }
}
