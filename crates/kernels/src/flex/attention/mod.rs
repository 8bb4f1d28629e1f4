//! Blocked attention on slices: tile by tile with an online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867; Dao et
//! al. 2022, arXiv 2205.14135), tiles that nobody sees left out, the backward pass by recomputation.
//!
//! Queries, keys and values stand side by side in one matrix of a row a token, as one product with three weights leaves
//! them: heads of the query, then those of the key, then those of the value.

mod backward;
mod forward;

pub(crate) use backward::backward;
pub(crate) use forward::forward;

/// Queries and keys of a tile: the scores of one take 16 KiB.
const TILE: usize = 64;

/// Sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) seq: usize,
    pub(crate) heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) head_dim: usize,
}

impl Shape {
    /// Numbers of a token in queries, keys and values together.
    pub(crate) fn width(&self) -> usize {
        (self.heads + 2 * self.key_value_heads) * self.head_dim
    }

    /// Numbers of a token in the output.
    pub(crate) fn output_width(&self) -> usize {
        self.heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }

    /// Where a head of the query, and the heads of key and value that it uses, begin in a token's numbers.
    fn columns(&self, head: usize) -> [usize; 3] {
        let shared = head * self.key_value_heads / self.heads;
        let key = self.heads + shared;
        [head, key, key + self.key_value_heads].map(|head| head * self.head_dim)
    }
}

/// Which keys a tile of queries meets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    Nothing,
    Some,
    Everything,
}

fn sight(visible_until: &[u32], queries: &Tile, keys: &Tile) -> Sight {
    if keys.start >= queries.end {
        return Sight::Nothing;
    }
    let until = &visible_until[keys.start..keys.end];
    let furthest = until.iter().max().copied().unwrap_or(0) as usize;
    let nearest = until.iter().min().copied().unwrap_or(0) as usize;
    if furthest <= queries.start {
        Sight::Nothing
    } else if nearest >= queries.end && keys.end <= queries.start + 1 {
        Sight::Everything
    } else {
        Sight::Some
    }
}

/// A range of a row's tokens.
#[derive(Clone, Copy)]
struct Tile {
    start: usize,
    end: usize,
}

impl Tile {
    fn len(&self) -> usize {
        self.end - self.start
    }
}

fn tiles(start: usize, end: usize) -> impl Iterator<Item = Tile> {
    (start..end).step_by(TILE).map(move |start| Tile {
        start,
        end: (start + TILE).min(end),
    })
}

/// Sets the scores of keys that a query does not see. `scores` is `[queries, keys]`.
#[inline(always)]
fn hide(scores: &mut [f32], visible_until: &[u32], queries: &Tile, keys: &Tile, with: f32) {
    let until = &visible_until[keys.start..keys.end];
    for (query, row) in (queries.start..).zip(scores.chunks_exact_mut(keys.len())) {
        for ((key, score), &until) in (keys.start..).zip(row).zip(until) {
            if key > query || query as u32 >= until {
                *score = with;
            }
        }
    }
}

/// The ends of random nested ranges, as depth-first trees one after another have them.
#[cfg(test)]
pub(crate) fn random_tree(rng: &mut rand_chacha::ChaCha8Rng, seq: usize) -> Vec<u32> {
    use rand::RngExt;

    let mut until = vec![0; seq];
    let mut open = vec![(0, seq)];
    while let Some((start, end)) = open.pop() {
        if start == end {
            continue;
        }
        let trunk = rng.random_range(start..=end);
        until[start..trunk].fill(end as u32);
        let branch = rng.random_range(trunk..=end);
        open.extend([(trunk, branch), (branch, end)]);
    }
    until
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
        (0..count).map(|_| rng.random_range(-1.5..1.5)).collect()
    }

    /// Query by query, in f64: output and log-sum-exp.
    fn expected(shape: &Shape, joined: &[f32], until: &[u32]) -> (Vec<f64>, Vec<f64>) {
        let (seq, width, head_dim) = (shape.seq, shape.width(), shape.head_dim);
        let (mut output, mut log_sum_exp) = (Vec::new(), Vec::new());
        for token in 0..shape.batch * seq {
            let row = token / seq;
            for head in 0..shape.heads {
                let [query, key, value] = shape.columns(head);
                let at = |token: usize, column: usize| {
                    joined[token * width + column..][..head_dim]
                        .iter()
                        .map(|&x| f64::from(x))
                };
                let seen: Vec<usize> = (row * seq..=token)
                    .filter(|&j| token - row * seq < until[j] as usize)
                    .collect();
                let weights: Vec<f64> = seen
                    .iter()
                    .map(|&j| {
                        let product: f64 =
                            at(token, query).zip(at(j, key)).map(|(a, b)| a * b).sum();
                        (product / (head_dim as f64).sqrt()).exp()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                log_sum_exp.push(total.ln());
                let mut weighted = vec![0.0; head_dim];
                for (&j, weight) in seen.iter().zip(&weights) {
                    for (sum, x) in weighted.iter_mut().zip(at(j, value)) {
                        *sum += weight / total * x;
                    }
                }
                output.extend(weighted);
            }
        }
        (output, log_sum_exp)
    }

    fn cases() -> Vec<Shape> {
        [
            (1, 1, 1, 1, 1),
            (2, 5, 4, 2, 3),
            (1, 2 * TILE + 3, 2, 1, 8),
            (2, TILE + 1, 3, 3, 64),
            (1, TILE, 6, 2, 80),
            (1, 37, 2, 2, 128),
        ]
        .map(|(batch, seq, heads, key_value_heads, head_dim)| Shape {
            batch,
            seq,
            heads,
            key_value_heads,
            head_dim,
        })
        .to_vec()
    }

    #[test]
    fn values_and_slopes_are_those_of_the_formula_at_every_width() {
        for (number, shape) in cases().iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(number as u64);
            let tokens = shape.batch * shape.seq;
            let joined = random(&mut rng, tokens * shape.width());
            let until: Vec<u32> = (0..shape.batch)
                .flat_map(|_| random_tree(&mut rng, shape.seq))
                .collect();
            let upper = random(&mut rng, tokens * shape.output_width());
            let (output_expected, log_expected) = expected(shape, &joined, &until);
            let [output_count, log_count] =
                [shape.output_width(), shape.heads].map(|width| tokens * width);
            let outputs = at_every_width(|| {
                let mut output = vec![f32::NAN; output_count];
                let mut log_sum_exp = vec![f32::NAN; log_count];
                forward(shape, &joined, &until, &mut output, &mut log_sum_exp);
                [output, log_sum_exp].concat()
            });
            for (found, expected) in outputs
                .iter()
                .zip(output_expected.iter().chain(&log_expected))
            {
                assert!(
                    (f64::from(*found) - expected).abs() < 2e-5,
                    "{shape:?}: {found} {expected}"
                );
            }
            let (output, log_sum_exp) = outputs.split_at(output_count);
            let gradient = at_every_width(|| {
                let mut gradient = vec![f32::NAN; joined.len()];
                backward(
                    shape,
                    &joined,
                    &until,
                    output,
                    log_sum_exp,
                    &upper,
                    &mut gradient,
                );
                gradient
            });
            // Along a random direction, the slope of sum(output * upper) in f64.
            for trial in 0..3 {
                let mut rng = ChaCha8Rng::seed_from_u64(100 + trial);
                let direction = random(&mut rng, joined.len());
                let at = |step: f32| -> f64 {
                    let moved: Vec<f32> = joined
                        .iter()
                        .zip(&direction)
                        .map(|(x, d)| x + step * d)
                        .collect();
                    let (output, _) = expected(shape, &moved, &until);
                    output
                        .iter()
                        .zip(&upper)
                        .map(|(o, &u)| o * f64::from(u))
                        .sum()
                };
                let slope = (at(1.0 / 512.0) - at(-1.0 / 512.0)) * 256.0;
                let found: f64 = gradient
                    .iter()
                    .zip(&direction)
                    .map(|(&g, &d)| f64::from(g) * f64::from(d))
                    .sum();
                assert!(
                    (slope - found).abs() < 2e-3 * (1.0 + slope.abs()),
                    "{shape:?}: {found} {slope}"
                );
            }
        }
    }
}
