//! All logits of some hidden states.

use burn::tensor::{FloatDType, Tensor};

use crate::flex;
use crate::half_precision::{is_half, rounded};
use crate::linear::linear;
use crate::linear_operands::LinearOperands;

/// `hidden * lm_head^T` in f32, `[rows, vocab]`, of hidden states `[rows, hidden]` and a head
/// `[vocab, hidden]`. Where the hidden states are in half precision, the head is rounded to their
/// type before it is multiplied.
///
/// # Panics
///
/// Where hidden states and head differ in width, which is a bug of the caller.
pub fn logits(hidden: Tensor<2>, lm_head: Tensor<2>) -> Tensor<2> {
    let (hidden, lm_head) = match is_half(&hidden) {
        true => {
            let half = FloatDType::from(hidden.dtype());
            (hidden.cast(FloatDType::F32), rounded(lm_head, half))
        }
        false => (hidden, lm_head),
    };
    if flex::supports(&hidden) {
        return hidden.matmul(lm_head.transpose());
    }
    // Burn's own product may round f32 to TF32 on a GPU.
    linear(LinearOperands::plain(hidden, lm_head))
}
