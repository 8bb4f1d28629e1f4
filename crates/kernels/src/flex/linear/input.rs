//! What happens to the input of a linear layer before the product, forward and backward.

use std::borrow::Cow;

use crate::flex::{rms_norm, swiglu};
use crate::linear_operands::LinearInput;

/// An input ready for the product, and what its own backward pass needs.
pub(super) struct PreparedInput<'a> {
    /// `[tokens, in]`.
    pub(super) values: Cow<'a, [f32]>,
    /// `[tokens]`, where normalized.
    scales: Vec<f32>,
}

pub(super) fn prepare<'a>(
    input: &LinearInput<&'a [f32], &'a [f32]>,
    inputs: usize,
) -> PreparedInput<'a> {
    let (values, scales) = match *input {
        LinearInput::Plain(x) => (Cow::Borrowed(x), Vec::new()),
        LinearInput::Normalized { x, weight, epsilon } => {
            let (values, scales) = rms_norm::forward(x, weight, epsilon as f32);
            (Cow::Owned(values), scales)
        }
        LinearInput::Gated(x) => (Cow::Owned(swiglu::forward(x, inputs)), Vec::new()),
    };
    PreparedInput { values, scales }
}

/// The gradients of the input, from that of the prepared input.
pub(super) fn backward(
    input: &LinearInput<&[f32], &[f32]>,
    prepared: &PreparedInput<'_>,
    inputs: usize,
    grad_prepared: Vec<f32>,
) -> LinearInput<Option<Vec<f32>>, Option<Vec<f32>>> {
    match *input {
        LinearInput::Plain(_) => LinearInput::Plain(Some(grad_prepared)),
        LinearInput::Normalized { x, weight, epsilon } => {
            let (grad_x, grad_weight) =
                rms_norm::backward(x, weight, &prepared.scales, &grad_prepared);
            LinearInput::Normalized {
                x: Some(grad_x),
                weight: Some(grad_weight),
                epsilon,
            }
        }
        LinearInput::Gated(x) => {
            LinearInput::Gated(Some(swiglu::backward(x, inputs, &grad_prepared)))
        }
    }
}
