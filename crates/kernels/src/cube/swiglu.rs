//! The gated activation on a GPU.

use burn::backend::Cube;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{elementwise, vector_size};
use super::tensor::{CubeTensor, IntoBuffer, element, empty_of, into_gradient, sizes};
use crate::operations::swiglu::SwigluPasses;

#[cube]
fn sigmoid<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let one = Vector::<f32, N>::new(f32::new(1.0));
    one / (one + (-x).exp())
}

/// A unit for each of the output's vectors, of which a row has `width`.
#[cube(launch)]
fn forward_kernel<F: Float, N: Size>(
    gate_up: &[Vector<F, N>],
    output: &mut [Vector<F, N>],
    width: usize,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS < output.len() {
        let gate = ABSOLUTE_POS / width * width + ABSOLUTE_POS;
        let x = Vector::<f32, N>::cast_from(gate_up[gate]);
        let up = Vector::<f32, N>::cast_from(gate_up[gate + width]);
        output[ABSOLUTE_POS] = Vector::cast_from(x * sigmoid(x) * up);
    }
}

/// The gradient of `gate_up`, and where it is wanted the output. A unit for each vector of
/// `grad_output`, of which a row has `width`.
#[cube(launch)]
fn backward_kernel<F: Float, N: Size>(
    gate_up: &[Vector<F, N>],
    grad_output: &[Vector<F, N>],
    grad_gate_up: &mut [Vector<F, N>],
    output: ComptimeOption<&mut [Vector<F, N>]>,
    width: usize,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS < grad_output.len() {
        let gate = ABSOLUTE_POS / width * width + ABSOLUTE_POS;
        let x = Vector::<f32, N>::cast_from(gate_up[gate]);
        let up = Vector::<f32, N>::cast_from(gate_up[gate + width]);
        let gradient = Vector::<f32, N>::cast_from(grad_output[ABSOLUTE_POS]);
        let one = Vector::<f32, N>::new(f32::new(1.0));
        let sigmoid = sigmoid(x);
        let grad_gate = gradient * up * sigmoid * (one + x * (one - sigmoid));
        grad_gate_up[gate] = Vector::cast_from(grad_gate);
        grad_gate_up[gate + width] = Vector::cast_from(gradient * x * sigmoid);
        #[comptime]
        if let ComptimeOption::Some(output) = output {
            output[ABSOLUTE_POS] = Vector::cast_from(x * sigmoid * up);
        }
    }
}

/// The gradient of `gate_up`, and where it is wanted the output once more: the pass reads all that
/// it is computed from.
pub(super) fn backward(
    gate_up: CubeTensor,
    grad_output: CubeTensor,
    wants_output: bool,
) -> (CubeTensor, Option<CubeTensor>) {
    let gate_up = into_contiguous(gate_up);
    let grad_output = into_gradient(grad_output, &gate_up);
    let [tokens, width] = sizes(&grad_output);
    let vector = vector_size(width);
    let grad_gate_up = empty_of(&gate_up, [tokens, 2 * width], gate_up.dtype);
    let output = wants_output.then(|| empty_of(&gate_up, [tokens, width], gate_up.dtype));
    let (cubes, units) = elementwise(&grad_gate_up.client, tokens * width / vector);
    backward_kernel::launch(
        &grad_gate_up.client,
        cubes,
        units,
        vector,
        gate_up.into_buffer(),
        grad_output.into_buffer(),
        grad_gate_up.clone().into_buffer(),
        output.clone().map(IntoBuffer::into_buffer).into(),
        width / vector,
        element(&grad_gate_up),
    );
    (grad_gate_up, output)
}

impl SwigluPasses for Cube {
    fn forward(gate_up: CubeTensor) -> CubeTensor {
        let gate_up = into_contiguous(gate_up);
        let [tokens, width] = sizes(&gate_up);
        let width = width / 2;
        let vector = vector_size(width);
        let output = empty_of(&gate_up, [tokens, width], gate_up.dtype);
        let (cubes, units) = elementwise(&output.client, tokens * width / vector);
        forward_kernel::launch(
            &output.client,
            cubes,
            units,
            vector,
            gate_up.into_buffer(),
            output.clone().into_buffer(),
            width / vector,
            element(&output),
        );
        output
    }

    fn backward(gate_up: CubeTensor, grad_output: CubeTensor) -> CubeTensor {
        backward(gate_up, grad_output, false).0
    }
}
