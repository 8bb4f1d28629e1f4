//! The gated activation on slices: gate and up side by side in a row a token, as one product with two weights leaves them.

use rayon::prelude::*;

use super::vector::{exp, vectorize};

/// Tokens that one task takes.
const ROWS: usize = 16;

/// `output = silu(gate) * up`; `joined` is `[tokens, 2 * width]`, `output` `[tokens, width]`.
pub(crate) fn forward(joined: &[f32], width: usize, output: &mut [f32]) {
    assert!(joined.len() == 2 * output.len() && output.len().is_multiple_of(width));
    output
        .par_chunks_mut(ROWS * width)
        .zip(joined.par_chunks(2 * ROWS * width))
        .for_each(|(output, joined)| {
            vectorize(|| {
                let rows = output
                    .chunks_exact_mut(width)
                    .zip(joined.chunks_exact(2 * width));
                for (output, joined) in rows {
                    let (gate, up) = joined.split_at(width);
                    for ((output, &gate), up) in output.iter_mut().zip(gate).zip(up) {
                        *output = gate / (1.0 + exp(-gate)) * up;
                    }
                }
            });
        });
}

/// The gradient of `joined`, from that of the output.
pub(crate) fn backward(
    joined: &[f32],
    width: usize,
    output_gradient: &[f32],
    joined_gradient: &mut [f32],
) {
    assert!(joined.len() == 2 * output_gradient.len() && joined.len() == joined_gradient.len());
    assert!(output_gradient.len().is_multiple_of(width));
    joined_gradient
        .par_chunks_mut(2 * ROWS * width)
        .zip(joined.par_chunks(2 * ROWS * width))
        .zip(output_gradient.par_chunks(ROWS * width))
        .for_each(|((gradient, joined), upper)| {
            vectorize(|| {
                let rows = gradient
                    .chunks_exact_mut(2 * width)
                    .zip(joined.chunks_exact(2 * width))
                    .zip(upper.chunks_exact(width));
                for ((gradient, joined), upper) in rows {
                    let (gate, up) = joined.split_at(width);
                    let (of_gate, of_up) = gradient.split_at_mut(width);
                    backward_row(gate, up, upper, of_gate, of_up);
                }
            });
        });
}

/// A function of its own, since compilers know of a function's arguments alone that they do not overlap.
#[inline(always)]
fn backward_row(gate: &[f32], up: &[f32], upper: &[f32], of_gate: &mut [f32], of_up: &mut [f32]) {
    let width = gate.len();
    let (up, upper) = (&up[..width], &upper[..width]);
    let (of_gate, of_up) = (&mut of_gate[..width], &mut of_up[..width]);
    for i in 0..width {
        let sigmoid = 1.0 / (1.0 + exp(-gate[i]));
        of_gate[i] = upper[i] * up[i] * sigmoid * (1.0 + gate[i] * (1.0 - sigmoid));
        of_up[i] = upper[i] * gate[i] * sigmoid;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;

    #[test]
    fn values_and_slopes_are_those_of_the_formula() {
        for (tokens, width) in [(1, 1), (ROWS + 1, 5), (3, 67)] {
            let count = 2 * tokens * width;
            let joined: Vec<f32> = (0..count)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 9.0)
                .collect();
            let upper: Vec<f32> = (0..count / 2)
                .map(|i| ((i * 53 % 97) as f32 - 48.0) / 31.0)
                .collect();
            let output = at_every_width(|| {
                let mut output = vec![f32::NAN; count / 2];
                forward(&joined, width, &mut output);
                output
            });
            let gradient = at_every_width(|| {
                let mut gradient = vec![f32::NAN; count];
                backward(&joined, width, &upper, &mut gradient);
                gradient
            });
            for (index, (&found, &upper)) in output.iter().zip(&upper).enumerate() {
                let at = index / width * 2 * width + index % width;
                let (g, u) = (f64::from(joined[at]), f64::from(joined[at + width]));
                let sigmoid = 1.0 / (1.0 + (-g).exp());
                let upper = f64::from(upper);
                for (found, expected) in [
                    (found, g * sigmoid * u),
                    (
                        gradient[at],
                        upper * u * sigmoid * (1.0 + g * (1.0 - sigmoid)),
                    ),
                    (gradient[at + width], upper * g * sigmoid),
                ] {
                    assert!(
                        (f64::from(found) - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                        "{found} {expected}"
                    );
                }
            }
        }
    }
}
