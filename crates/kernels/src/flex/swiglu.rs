//! The gated activation on slices. A token's row holds gate and up side by side, as one product
//! with both weights leaves them.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::buffer::uninitialized;
use super::vector::{exp, vectorize};

/// Tokens that one task takes.
const ROWS: usize = 16;

/// `silu(gate) * up`, `[tokens, width]`, of `gate_up`, `[tokens, 2 * width]`.
pub(crate) fn forward(gate_up: &[f32], width: usize) -> Vec<f32> {
    let mut output = uninitialized(gate_up.len() / 2);
    assert!(gate_up.len() == 2 * output.len() && output.len().is_multiple_of(width));
    output
        .par_chunks_mut(ROWS * width)
        .zip(gate_up.par_chunks(2 * ROWS * width))
        .for_each(|(output, gate_up)| {
            vectorize(|| {
                let rows = output
                    .chunks_exact_mut(width)
                    .zip(gate_up.chunks_exact(2 * width));
                for (output, gate_up) in rows {
                    let (gate, up) = gate_up.split_at(width);
                    for ((output, &gate), up) in output.iter_mut().zip(gate).zip(up) {
                        output.write(gate / (1.0 + exp(-gate)) * up);
                    }
                }
            });
        });
    // SAFETY: the assertion makes the output whole rows, and each row's elements were written.
    unsafe { output.assume_init() }.into_vec()
}

/// The gradient of `gate_up`, from that of the output.
pub(crate) fn backward(gate_up: &[f32], width: usize, grad_output: &[f32]) -> Vec<f32> {
    assert_eq!(gate_up.len(), 2 * grad_output.len());
    assert!(grad_output.len().is_multiple_of(width));
    let mut grad_gate_up = uninitialized(gate_up.len());
    grad_gate_up
        .par_chunks_mut(2 * ROWS * width)
        .zip(gate_up.par_chunks(2 * ROWS * width))
        .zip(grad_output.par_chunks(ROWS * width))
        .for_each(|((grad_gate_up, gate_up), grad_output)| {
            vectorize(|| {
                let rows = grad_gate_up
                    .chunks_exact_mut(2 * width)
                    .zip(gate_up.chunks_exact(2 * width))
                    .zip(grad_output.chunks_exact(width));
                for ((grad_gate_up, gate_up), grad_output) in rows {
                    let (gate, up) = gate_up.split_at(width);
                    let (grad_gate, grad_up) = grad_gate_up.split_at_mut(width);
                    backward_row(gate, up, grad_output, grad_gate, grad_up);
                }
            });
        });
    // SAFETY: the assertions make the gradient whole rows, and `backward_row` wrote both halves of
    // each.
    unsafe { grad_gate_up.assume_init() }.into_vec()
}

/// Writes both gradients. A function of its own, since compilers know only of a function's
/// arguments that they do not overlap.
#[inline(always)]
fn backward_row(
    gate: &[f32],
    up: &[f32],
    grad_output: &[f32],
    grad_gate: &mut [MaybeUninit<f32>],
    grad_up: &mut [MaybeUninit<f32>],
) {
    let width = gate.len();
    let (up, grad_output) = (&up[..width], &grad_output[..width]);
    let (grad_gate, grad_up) = (&mut grad_gate[..width], &mut grad_up[..width]);
    for i in 0..width {
        let sigmoid = 1.0 / (1.0 + exp(-gate[i]));
        let factor = 1.0 + gate[i] * (1.0 - sigmoid);
        grad_gate[i].write(grad_output[i] * up[i] * sigmoid * factor);
        grad_up[i].write(grad_output[i] * gate[i] * sigmoid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;

    #[test]
    fn values_and_gradients_are_those_of_the_formula() {
        for (tokens, width) in [(1, 1), (ROWS + 1, 5), (3, 67)] {
            let count = 2 * tokens * width;
            let gate_up: Vec<f32> = (0..count)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 9.0)
                .collect();
            let grad_output: Vec<f32> = (0..count / 2)
                .map(|i| ((i * 53 % 97) as f32 - 48.0) / 31.0)
                .collect();
            let output = at_every_width(|| forward(&gate_up, width));
            let gradient = at_every_width(|| backward(&gate_up, width, &grad_output));
            for (index, (&found, &grad_output)) in output.iter().zip(&grad_output).enumerate() {
                let at = index / width * 2 * width + index % width;
                let (g, u) = (f64::from(gate_up[at]), f64::from(gate_up[at + width]));
                let sigmoid = 1.0 / (1.0 + (-g).exp());
                let grad_output = f64::from(grad_output);
                for (found, expected) in [
                    (found, g * sigmoid * u),
                    (
                        gradient[at],
                        grad_output * u * sigmoid * (1.0 + g * (1.0 - sigmoid)),
                    ),
                    (gradient[at + width], grad_output * g * sigmoid),
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
