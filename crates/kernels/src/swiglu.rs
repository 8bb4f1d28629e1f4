//! The gated activation of Llama's feed-forward block.

use burn::tensor::{Tensor, activation};

/// `silu(gate) * up`, with `silu(x) = x * sigmoid(x)` (Shazeer 2020, arXiv 2002.05202). All are `[tokens, intermediate]`.
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    activation::silu(gate) * up
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn the_gate_passes_the_other_half() {
        let device = Device::flex();
        let gate = Tensor::from_floats([[0.0, 1.0, -2.0, 30.0]], &device);
        let up = Tensor::from_floats([[5.0, 2.0, 3.0, 1.0]], &device);
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let expected = Tensor::<2>::from_floats(
            [[0.0, 2.0 * sigmoid(1.0), -6.0 * sigmoid(-2.0), 30.0]],
            &device,
        );
        swiglu(gate, up)
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }
}
