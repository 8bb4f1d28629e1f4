//! Conversion between types of elements on a GPU. Burn's own may leave gaps between the rows of its
//! result, which these kernels take no account of.

use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{elementwise, vector_size};
use super::tensor::{CubeTensor, IntoBuffer, element, empty_of, sizes};

/// A unit for each vector of `x`.
#[cube(launch)]
fn cast_kernel<F: Float, G: Float, N: Size>(
    x: &[Vector<F, N>],
    output: &mut [Vector<G, N>],
    offset: usize,
    #[define(F)] _from: ElemType,
    #[define(G)] _to: ElemType,
) {
    if ABSOLUTE_POS < x.len() {
        output[offset + ABSOLUTE_POS] = Vector::cast_from(x[ABSOLUTE_POS]);
    }
}

/// Writes a matrix to the rows of another from `first_row` on, in the other's type.
pub(super) fn cast_to_rows(x: &CubeTensor, output: &CubeTensor, first_row: usize) {
    let x = into_contiguous(x.clone());
    let [rows, width] = sizes(&x);
    let vector = vector_size(width);
    let (cubes, units) = elementwise(&x.client, rows * width / vector);
    cast_kernel::launch(
        &output.client,
        cubes,
        units,
        vector,
        x.clone().into_buffer(),
        output.clone().into_buffer(),
        first_row * width / vector,
        element(&x),
        element(output),
    );
}

/// A matrix in this type, contiguous: itself where it is of it.
pub(super) fn in_type(matrix: &CubeTensor, dtype: DType) -> CubeTensor {
    if matrix.dtype == dtype {
        return into_contiguous(matrix.clone());
    }
    let output = empty_of(matrix, sizes(matrix), dtype);
    cast_to_rows(matrix, &output, 0);
    output
}
