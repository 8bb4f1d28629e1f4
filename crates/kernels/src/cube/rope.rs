//! Rotary position embeddings on a GPU, in place.

use burn::backend::{Cube, TensorMetadata};
use burn_cubecl::cubecl;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{elementwise, vector_size};
use super::tensor::{CubeTensor, IntoBuffer, element, into_cube, into_unique};
use crate::flex::rope::Direction;
use crate::operations::rope::RotaryPass;
use crate::rotary_embedding::RotaryEmbedding;

/// A unit for each pair of vectors. A token has `width` vectors, and half a head has `half`.
#[cube(launch)]
fn rotate_kernel<F: Float, N: Size>(
    values: &mut [Vector<F, N>],
    cosines: &[Vector<f32, N>],
    sines: &[Vector<f32, N>],
    width: usize,
    heads: usize,
    half: usize,
    sign: f32,
    #[define(F)] _element: ElemType,
) {
    let token = ABSOLUTE_POS / (heads * half);
    let pair = ABSOLUTE_POS % (heads * half);
    let first = token * width + pair / half * (2 * half) + pair % half;
    if first + half < values.len() {
        let angle = token * half + pair % half;
        let second = first + half;
        let a = Vector::<f32, N>::cast_from(values[first]);
        let b = Vector::<f32, N>::cast_from(values[second]);
        let cosine = cosines[angle];
        let sine = sines[angle] * Vector::new(sign);
        values[first] = Vector::cast_from(a * cosine - b * sine);
        values[second] = Vector::cast_from(b * cosine + a * sine);
    }
}

/// Rotates the first `heads` heads of every token, in place where nobody else holds `values`, whose
/// tokens have `width` elements.
pub(super) fn rotate(
    values: CubeTensor,
    width: usize,
    heads: usize,
    rotary: &RotaryEmbedding,
    direction: Direction,
) -> CubeTensor {
    let values = into_unique(values);
    let tokens = values.shape().num_elements() / width.max(1);
    let half = rotary.cosines.len() / tokens.max(1);
    let sign = match direction {
        Direction::Forward => 1.0,
        Direction::Inverse => -1.0,
    };
    let [cosines, sines] = rotary.on_device().map(into_cube);
    let vector = vector_size(half);
    let (cubes, units) = elementwise(&values.client, tokens * heads * half / vector);
    rotate_kernel::launch(
        &values.client,
        cubes,
        units,
        vector,
        values.clone().into_buffer(),
        cosines.into_buffer(),
        sines.into_buffer(),
        width / vector,
        heads,
        half / vector,
        sign,
        element(&values),
    );
    values
}

impl RotaryPass for Cube {
    fn rotated(heads: CubeTensor, rotary: &RotaryEmbedding, direction: Direction) -> CubeTensor {
        let shape = heads.shape();
        if shape.num_elements() == 0 {
            return heads;
        }
        rotate(heads, shape[2] * shape[3], shape[2], rotary, direction)
    }
}
