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

/// What a random mask of tests looks like.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) enum MaskKind {
    /// Nested ranges, as depth-first trees one after another have them.
    Trees,
    /// Documents side by side, and tokens of padding after them.
    Documents,
    /// Any range that a token is in, nested or not.
    Any,
}

/// Any kind of mask.
#[cfg(test)]
pub(crate) fn mask_kind() -> impl proptest::strategy::Strategy<Value = MaskKind> {
    proptest::sample::select(vec![MaskKind::Trees, MaskKind::Documents, MaskKind::Any])
}

/// Lengths below one tile, about one, and above two.
#[cfg(test)]
pub(crate) fn sequence_length() -> impl proptest::strategy::Strategy<Value = usize> {
    proptest::prop_oneof![
        1usize..8,
        8..TILE,
        TILE - 1..TILE + 4,
        2 * TILE - 1..2 * TILE + 9
    ]
}

/// A mask's `visible_until`, `[batch * seq]`.
#[cfg(test)]
pub(crate) fn random_mask(
    rng: &mut rand_chacha::ChaCha8Rng,
    kind: MaskKind,
    batch: usize,
    seq: usize,
) -> Vec<u32> {
    use rand::RngExt;

    let mut row = || match kind {
        MaskKind::Trees => random_tree(rng, seq),
        MaskKind::Documents => {
            let mut until: Vec<u32> = (1..=seq as u32).collect();
            let mut start = 0;
            while start < seq && rng.random_range(0..4) > 0 {
                let end = rng.random_range(start + 1..=seq);
                until[start..end].fill(end as u32);
                start = end;
            }
            until
        }
        MaskKind::Any => (0..seq)
            .map(|token| rng.random_range(token + 1..=seq) as u32)
            .collect(),
    };
    (0..batch).flat_map(|_| row()).collect()
}

#[cfg(test)]
fn random_tree(rng: &mut rand_chacha::ChaCha8Rng, seq: usize) -> Vec<u32> {
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
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
        (0..count).map(|_| rng.random_range(-1.5..1.5)).collect()
    }

    /// Query by query, in f64: output, log-sum-exp, and the gradient of `joined` for `upper` from above.
    fn expected(shape: &Shape, joined: &[f32], until: &[u32], upper: &[f32]) -> [Vec<f64>; 3] {
        let (seq, width, head_dim) = (shape.seq, shape.width(), shape.head_dim);
        let scale = (head_dim as f64).sqrt().recip();
        let at = |numbers: &[f32], start: usize| -> Vec<f64> {
            numbers[start..][..head_dim]
                .iter()
                .map(|&x| f64::from(x))
                .collect()
        };
        let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(a, b)| a * b).sum() };
        let (mut output, mut log_sum_exp) = (Vec::new(), Vec::new());
        let mut gradient = vec![0.0; joined.len()];
        for token in 0..shape.batch * seq {
            let first = token / seq * seq;
            for head in 0..shape.heads {
                let columns = shape.columns(head);
                let [query, key, value] =
                    columns.map(|column| move |token: usize| at(joined, token * width + column));
                let seen: Vec<usize> = (first..=token)
                    .filter(|&j| token - first < until[j] as usize)
                    .collect();
                let query = query(token);
                let exponentials: Vec<f64> = seen
                    .iter()
                    .map(|&j| (dot(&query, &key(j)) * scale).exp())
                    .collect();
                let total: f64 = exponentials.iter().sum();
                log_sum_exp.push(total.ln());
                let upper = at(upper, token * shape.output_width() + columns[0]);
                let mut weighted = vec![0.0; head_dim];
                for (&j, exponential) in seen.iter().zip(&exponentials) {
                    for (sum, x) in weighted.iter_mut().zip(value(j)) {
                        *sum += exponential / total * x;
                    }
                }
                for (&j, exponential) in seen.iter().zip(&exponentials) {
                    let weight = exponential / total;
                    let slope = weight * (dot(&upper, &value(j)) - dot(&upper, &weighted)) * scale;
                    let key = key(j);
                    for i in 0..head_dim {
                        gradient[token * width + columns[0] + i] += slope * key[i];
                        gradient[j * width + columns[1] + i] += slope * query[i];
                        gradient[j * width + columns[2] + i] += weight * upper[i];
                    }
                }
                output.extend(weighted);
            }
        }
        [output, log_sum_exp, gradient]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn values_and_slopes_are_those_of_the_formula_at_every_width(
            batch in 1usize..3,
            seq in sequence_length(),
            key_value_heads in 1usize..3,
            group in 1usize..4,
            head_dim in prop::sample::select(vec![1usize, 3, 17, 48, 64, 80, 128]),
            kind in mask_kind(),
            seed: u64,
        ) {
            let heads = group * key_value_heads;
            let shape = Shape { batch, seq, heads, key_value_heads, head_dim };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let tokens = batch * seq;
            let joined = random(&mut rng, tokens * shape.width());
            let until = random_mask(&mut rng, kind, batch, seq);
            let upper = random(&mut rng, tokens * shape.output_width());
            let expected = expected(&shape, &joined, &until, &upper);
            let output_count = tokens * shape.output_width();
            let found = at_every_width(|| {
                let mut output = vec![f32::NAN; output_count];
                let mut log_sum_exp = vec![f32::NAN; tokens * heads];
                forward(&shape, &joined, &until, &mut output, &mut log_sum_exp);
                let mut gradient = vec![f32::NAN; joined.len()];
                backward(&shape, &joined, &until, &output, &log_sum_exp, &upper, &mut gradient);
                [output, log_sum_exp, gradient].concat()
            });
            for (index, (&found, expected)) in found.iter().zip(expected.concat()).enumerate() {
                prop_assert!(
                    (f64::from(found) - expected).abs() < 5e-5 * (1.0 + expected.abs()),
                    "{index} of {output_count} and more: {found} {expected}"
                );
            }
        }
    }
}
