//! Root-mean-square normalization on slices.

use rayon::prelude::*;

use super::buffer::uninitialized;
use super::vector::{sum_of, vectorize};

/// Rows that one task takes. It is fixed, so that sums over rows are added in one order whatever
/// the number of threads.
const ROWS: usize = 64;

/// `x * scale * weight`, and each row's `scale = 1 / sqrt(mean(x^2) + epsilon)` for the backward
/// pass.
pub(crate) fn forward(x: &[f32], weight: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let rows = x.len() / width;
    assert_eq!(x.len(), rows * width);
    let mut output = uninitialized(x.len());
    let mut scales = uninitialized(rows);
    output
        .par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * width))
        .zip(scales.par_chunks_mut(ROWS))
        .for_each(|((output, x), scales)| {
            vectorize(|| {
                let rows = output.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((output, x), scale) in rows.zip(scales) {
                    let mean = sum_of(x, x, |x, _| x * x) / width as f32;
                    let scale = *scale.write((mean + epsilon).sqrt().recip());
                    for ((output, x), weight) in output.iter_mut().zip(x).zip(weight) {
                        output.write(x * scale * weight);
                    }
                }
            });
        });
    // SAFETY: both have all rows of `x`, and each row's elements and scale were written.
    unsafe {
        (
            output.assume_init().into_vec(),
            scales.assume_init().into_vec(),
        )
    }
}

/// The gradients of `x` and of the weight: `dx = scale (w dy - x scale^2 mean(w dy x))`,
/// `dw = sum(dy x scale)`.
pub(crate) fn backward(
    x: &[f32],
    weight: &[f32],
    scales: &[f32],
    grad_output: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let width = weight.len();
    assert_eq!(x.len(), grad_output.len());
    assert_eq!(x.len(), scales.len() * width);
    let mut grad_x = uninitialized(x.len());
    let parts: Vec<Vec<f32>> = grad_x
        .par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * width))
        .zip(grad_output.par_chunks(ROWS * width))
        .zip(scales.par_chunks(ROWS))
        .map(|(((grad_x, x), grad_output), scales)| {
            let mut grad_weight = vec![0f32; width];
            vectorize(|| {
                let rows = grad_x
                    .chunks_exact_mut(width)
                    .zip(x.chunks_exact(width))
                    .zip(grad_output.chunks_exact(width))
                    .zip(scales);
                for (((grad_x, x), grad_output), scale) in rows {
                    for (((grad_x, x), grad_output), (sum, weight)) in grad_x
                        .iter_mut()
                        .zip(x)
                        .zip(grad_output)
                        .zip(grad_weight.iter_mut().zip(weight))
                    {
                        grad_x.write(grad_output * weight);
                        *sum += grad_output * x * scale;
                    }
                    // SAFETY: all slices of the loop above have `width` elements.
                    let grad_x = unsafe { grad_x.assume_init_mut() };
                    let mean = sum_of(grad_x, x, |g, x| g * x) / width as f32;
                    let factor = mean * scale * scale;
                    for (grad_x, x) in grad_x.iter_mut().zip(x) {
                        *grad_x = scale * (*grad_x - x * factor);
                    }
                }
            });
            grad_weight
        })
        .collect();
    let mut grad_weight = vec![0f32; width];
    for part in &parts {
        for (sum, x) in grad_weight.iter_mut().zip(part) {
            *sum += x;
        }
    }
    // SAFETY: it has all rows of `x`, and each was written.
    let grad_x = unsafe { grad_x.assume_init() }.into_vec();
    (grad_x, grad_weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn expected(x: &[f32], weight: &[f32], epsilon: f64) -> Vec<f64> {
        let width = weight.len();
        x.chunks(width)
            .flat_map(|x| {
                let mean =
                    x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / width as f64;
                let scale = (mean + epsilon).sqrt().recip();
                x.iter()
                    .zip(weight)
                    .map(move |(&x, &w)| f64::from(x) * scale * f64::from(w))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_formula() {
        for (rows, width) in [(1, 1), (3, 7), (ROWS + 1, 64), (5, 577)] {
            let mut rng = ChaCha8Rng::seed_from_u64(width as u64);
            let mut random = |count: usize| -> Vec<f32> {
                (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
            };
            let (x, weight) = (random(rows * width), random(width));
            let grad_output = random(rows * width);
            let directions = (random(rows * width), random(width));
            let output = at_every_width(|| forward(&x, &weight, 1e-3).0);
            for (found, expected) in output.iter().zip(expected(&x, &weight, 1e-3)) {
                assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
            let (_, scales) = forward(&x, &weight, 1e-3);
            let both = at_every_width(|| {
                let (grad_x, grad_weight) = backward(&x, &weight, &scales, &grad_output);
                [grad_x, grad_weight].concat()
            });
            let (grad_x, grad_weight) = both.split_at(rows * width);
            let moved = |x: &[f32], d: &[f32], step: f32| -> Vec<f32> {
                x.iter().zip(d).map(|(x, d)| x + step * d).collect()
            };
            let at = |step: f32| -> f64 {
                let (x, weight) = (
                    moved(&x, &directions.0, step),
                    moved(&weight, &directions.1, step),
                );
                let output = expected(&x, &weight, 1e-3);
                output
                    .iter()
                    .zip(&grad_output)
                    .map(|(o, &u)| o * f64::from(u))
                    .sum()
            };
            let slope = (at(1.0 / 1024.0) - at(-1.0 / 1024.0)) * 512.0;
            let product = |g: &[f32], d: &[f32]| -> f64 {
                g.iter()
                    .zip(d)
                    .map(|(&g, &d)| f64::from(g) * f64::from(d))
                    .sum()
            };
            let found = product(grad_x, &directions.0) + product(grad_weight, &directions.1);
            assert!(
                (slope - found).abs() < 1e-3 * (1.0 + slope.abs()),
                "{rows} {width}: {found} {slope}"
            );
        }
    }
}
