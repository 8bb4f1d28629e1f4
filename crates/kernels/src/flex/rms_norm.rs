//! Root-mean-square normalisation on slices.

use rayon::prelude::*;

use super::vector::{sum_of, vectorize};

/// Rows that one task takes: fixed, so that sums over rows are added in one order on any number of threads.
const ROWS: usize = 64;

/// `output = x * scale * weight` and each row's `scale = 1 / sqrt(mean(x^2) + epsilon)`, for the backward pass.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
    output: &mut [f32],
    scales: &mut [f32],
) {
    let width = weight.len();
    assert!(x.len() == output.len() && x.len() == scales.len() * width);
    output
        .par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * width))
        .zip(scales.par_chunks_mut(ROWS))
        .for_each(|((output, x), scales)| {
            vectorize(|| {
                let rows = output.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((output, x), scale) in rows.zip(scales) {
                    let mean = sum_of(x, x, |x, _| x * x) / width as f32;
                    *scale = (mean + epsilon).sqrt().recip();
                    for ((output, x), weight) in output.iter_mut().zip(x).zip(weight) {
                        *output = x * *scale * weight;
                    }
                }
            });
        });
}

/// The gradient of x, written to `x_gradient`, and that of the weight, which is returned:
/// `dx = scale (w dy - x scale^2 mean(w dy x))`, `dw = sum(dy x scale)`.
pub(crate) fn backward(
    x: &[f32],
    weight: &[f32],
    scales: &[f32],
    output_gradient: &[f32],
    x_gradient: &mut [f32],
) -> Vec<f32> {
    let width = weight.len();
    assert!(x.len() == output_gradient.len() && x.len() == x_gradient.len());
    assert_eq!(x.len(), scales.len() * width);
    let parts: Vec<Vec<f32>> = x_gradient
        .par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * width))
        .zip(output_gradient.par_chunks(ROWS * width))
        .zip(scales.par_chunks(ROWS))
        .map(|(((x_gradient, x), output_gradient), scales)| {
            let mut weight_gradient = vec![0f32; width];
            vectorize(|| {
                let rows = x_gradient
                    .chunks_exact_mut(width)
                    .zip(x.chunks_exact(width))
                    .zip(output_gradient.chunks_exact(width))
                    .zip(scales);
                for (((x_gradient, x), upper), scale) in rows {
                    for (((place, x), upper), (sum, weight)) in x_gradient
                        .iter_mut()
                        .zip(x)
                        .zip(upper)
                        .zip(weight_gradient.iter_mut().zip(weight))
                    {
                        *place = upper * weight;
                        *sum += upper * x * scale;
                    }
                    let mean = sum_of(x_gradient, x, |g, x| g * x) / width as f32;
                    let factor = mean * scale * scale;
                    for (place, x) in x_gradient.iter_mut().zip(x) {
                        *place = scale * (*place - x * factor);
                    }
                }
            });
            weight_gradient
        })
        .collect();
    let mut weight_gradient = vec![0f32; width];
    for part in &parts {
        for (sum, x) in weight_gradient.iter_mut().zip(part) {
            *sum += x;
        }
    }
    weight_gradient
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
    fn values_and_slopes_are_those_of_the_formula() {
        for (rows, width) in [(1, 1), (3, 7), (ROWS + 1, 64), (5, 577)] {
            let mut rng = ChaCha8Rng::seed_from_u64(width as u64);
            let mut random = |count: usize| -> Vec<f32> {
                (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
            };
            let (x, weight, upper) = (random(rows * width), random(width), random(rows * width));
            let directions = (random(rows * width), random(width));
            let mut scales = vec![f32::NAN; rows];
            let output = at_every_width(|| {
                let mut output = vec![f32::NAN; rows * width];
                forward(&x, &weight, 1e-3, &mut output, &mut vec![f32::NAN; rows]);
                output
            });
            forward(
                &x,
                &weight,
                1e-3,
                &mut vec![f32::NAN; rows * width],
                &mut scales,
            );
            for (found, expected) in output.iter().zip(expected(&x, &weight, 1e-3)) {
                assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
            let both = at_every_width(|| {
                let mut x_gradient = vec![f32::NAN; rows * width];
                let weight_gradient = backward(&x, &weight, &scales, &upper, &mut x_gradient);
                [x_gradient, weight_gradient].concat()
            });
            let (x_gradient, weight_gradient) = both.split_at(rows * width);
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
                    .zip(&upper)
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
            let found =
                product(x_gradient, &directions.0) + product(weight_gradient, &directions.1);
            assert!(
                (slope - found).abs() < 1e-3 * (1.0 + slope.abs()),
                "{rows} {width}: {found} {slope}"
            );
        }
    }
}
