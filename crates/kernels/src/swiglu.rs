//! The gated activation of Llama's feed-forward block.

use burn::tensor::{Tensor, activation};

/// `silu(gate) * up`, with `silu(x) = x * sigmoid(x)` (Shazeer 2020, arXiv 2002.05202). All are `[tokens, intermediate]`.
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    activation::silu(gate) * up
}
