//! Rotary position embeddings on slices, in place.

use rayon::prelude::*;

use super::vector::vectorize;

/// Tokens that one task takes.
const ROWS: usize = 32;

/// Which way to rotate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    /// By the opposite angles, as the backward pass rotates gradients.
    Inverse,
}

/// Rotates the first `heads` heads of every token, in halves as Hugging Face's Llama does. `values`
/// is `[tokens, width]`, `cosines` and `sines` are `[tokens, head_dim / 2]`.
pub(crate) fn rotate(
    values: &mut [f32],
    width: usize,
    heads: usize,
    cosines: &[f32],
    sines: &[f32],
    direction: Direction,
) {
    if values.is_empty() {
        return;
    }
    let tokens = values.len() / width;
    let half = cosines.len() / tokens;
    assert!(values.len() == tokens * width && cosines.len() == tokens * half);
    assert!(cosines.len() == sines.len() && 0 < half && 2 * half * heads <= width);
    let sign = match direction {
        Direction::Forward => 1.0,
        Direction::Inverse => -1.0,
    };
    values
        .par_chunks_mut(ROWS * width)
        .zip(cosines.par_chunks(ROWS * half))
        .zip(sines.par_chunks(ROWS * half))
        .for_each(|((values, cosines), sines)| {
            vectorize(|| {
                let rows = values
                    .chunks_exact_mut(width)
                    .zip(cosines.chunks_exact(half))
                    .zip(sines.chunks_exact(half));
                for ((token, cosines), sines) in rows {
                    for head in token[..2 * half * heads].chunks_exact_mut(2 * half) {
                        let (first, second) = head.split_at_mut(half);
                        let pairs = first.iter_mut().zip(second);
                        for ((a, b), (cosine, sine)) in pairs.zip(cosines.iter().zip(sines)) {
                            let sine = sign * sine;
                            (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
                        }
                    }
                }
            });
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;

    #[test]
    fn halves_rotate_by_their_angle_and_back_and_other_heads_stay() {
        let (tokens, heads, half, width) = (ROWS + 3, 2, 5, 27);
        let angles: Vec<f32> = (0..tokens * half).map(|i| i as f32 * 0.37).collect();
        let cosines: Vec<f32> = angles.iter().map(|x| x.cos()).collect();
        let sines: Vec<f32> = angles.iter().map(|x| x.sin()).collect();
        let before: Vec<f32> = (0..tokens * width)
            .map(|i| (i as f32 * 0.7).sin())
            .collect();
        let mut values = at_every_width(|| {
            let mut values = before.clone();
            rotate(
                &mut values,
                width,
                heads,
                &cosines,
                &sines,
                Direction::Forward,
            );
            values
        });
        for token in 0..tokens {
            for column in 0..width {
                let at = token * width + column;
                let (head, place) = (column / (2 * half), column % (2 * half));
                let expected = if head >= heads {
                    before[at]
                } else {
                    let angle = angles[token * half + place % half];
                    match place < half {
                        true => before[at] * angle.cos() - before[at + half] * angle.sin(),
                        false => before[at] * angle.cos() + before[at - half] * angle.sin(),
                    }
                };
                assert!((values[at] - expected).abs() < 1e-6, "{token} {column}");
            }
        }
        rotate(
            &mut values,
            width,
            heads,
            &cosines,
            &sines,
            Direction::Inverse,
        );
        assert!(
            values
                .iter()
                .zip(&before)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
    }
}
