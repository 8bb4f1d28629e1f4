//! The gated activation on a GPU.

use burn::backend::Cube;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{elementwise, vector_size};
use super::tensor::{CubeTensor, IntoBuffer, element, empty_of, into_gradient, into_unique, sizes};
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

/// Writes the gradient of `gate_up` in its place, and where it is wanted the output in the place of
/// its gradient. A unit for each vector of the output, of which a row has `width`.
#[cube(launch)]
fn backward_kernel<F: Float, N: Size>(
    gate_up: &mut [Vector<F, N>],
    grad_output: &mut [Vector<F, N>],
    width: usize,
    #[comptime] wants_output: bool,
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
        gate_up[gate] = Vector::cast_from(grad_gate);
        gate_up[gate + width] = Vector::cast_from(gradient * x * sigmoid);
        if wants_output {
            grad_output[ABSOLUTE_POS] = Vector::cast_from(x * sigmoid * up);
        }
    }
}

/// The gradient of `gate_up`, and where it is wanted the output once more: the pass reads all that
/// it is computed from. Both are in the memory of the arguments, the widest of a layer, unless
/// somebody else holds it.
pub(super) fn backward(
    gate_up: CubeTensor,
    grad_output: CubeTensor,
    wants_output: bool,
) -> (CubeTensor, Option<CubeTensor>) {
    let gate_up = into_unique(gate_up);
    let grad_output = into_gradient(grad_output, &gate_up);
    let grad_output = match wants_output {
        true => into_unique(grad_output),
        false => grad_output,
    };
    let [tokens, width] = sizes(&grad_output);
    let vector = vector_size(width);
    let (cubes, units) = elementwise(&gate_up.client, tokens * width / vector);
    backward_kernel::launch(
        &gate_up.client,
        cubes,
        units,
        vector,
        gate_up.clone().into_buffer(),
        grad_output.clone().into_buffer(),
        width / vector,
        wants_output,
        element(&gate_up),
    );
    (gate_up, wants_output.then_some(grad_output))
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
