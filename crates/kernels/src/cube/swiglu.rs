//! The gated activation on a GPU.

use burn::backend::Cube;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;

use super::launch::elementwise;
use super::tensor::{CubeTensor, empty, sizes};
use crate::operations::swiglu::SwigluPasses;

#[cube(launch)]
fn forward_kernel(gate_up: &[f32], output: &mut [f32], width: usize) {
    if ABSOLUTE_POS < output.len() {
        let gate = ABSOLUTE_POS / width * width + ABSOLUTE_POS;
        let x = gate_up[gate];
        output[ABSOLUTE_POS] = x / (1.0 + (-x).exp()) * gate_up[gate + width];
    }
}

#[cube(launch)]
fn backward_kernel(gate_up: &[f32], grad_output: &[f32], grad_gate_up: &mut [f32], width: usize) {
    if ABSOLUTE_POS < grad_output.len() {
        let gate = ABSOLUTE_POS / width * width + ABSOLUTE_POS;
        let up = gate + width;
        let x = gate_up[gate];
        let gradient = grad_output[ABSOLUTE_POS];
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        let factor = 1.0 + x * (1.0 - sigmoid);
        grad_gate_up[gate] = gradient * gate_up[up] * sigmoid * factor;
        grad_gate_up[up] = gradient * x * sigmoid;
    }
}

impl SwigluPasses for Cube {
    fn forward(gate_up: CubeTensor) -> CubeTensor {
        let gate_up = into_contiguous(gate_up);
        let [tokens, width] = sizes(&gate_up);
        let width = width / 2;
        let output = empty(&gate_up, [tokens, width]);
        let (cubes, units) = elementwise(&output.client, tokens * width);
        forward_kernel::launch(
            &output.client,
            cubes,
            units,
            gate_up.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            width,
        );
        output
    }

    fn backward(gate_up: CubeTensor, grad_output: CubeTensor) -> CubeTensor {
        let (gate_up, grad_output) = (into_contiguous(gate_up), into_contiguous(grad_output));
        let [tokens, width] = sizes(&grad_output);
        let grad_gate_up = empty(&gate_up, [tokens, 2 * width]);
        let (cubes, units) = elementwise(&grad_gate_up.client, tokens * width);
        backward_kernel::launch(
            &grad_gate_up.client,
            cubes,
            units,
            gate_up.into_buffer_arg(),
            grad_output.into_buffer_arg(),
            grad_gate_up.clone().into_buffer_arg(),
            width,
        );
        grad_gate_up
    }
}
