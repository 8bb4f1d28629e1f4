//! Conversion between types of elements on a GPU. Burn's own may leave gaps between the rows of its
//! result, which these kernels take no account of.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::launch::{elementwise, tensors_of_a_launch, vector_size};
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

/// Casts several matrices. A unit for each vector of all of them.
#[cube(launch)]
fn cast_all_kernel<F: Float, G: Float, N: Size>(
    matrices: &Sequence<Box<[Vector<F, N>]>>,
    outputs: &mut Sequence<Box<[Vector<G, N>]>>,
    #[define(F)] _from: ElemType,
    #[define(G)] _to: ElemType,
) {
    let mut first = 0;
    #[unroll]
    for n in 0..matrices.len() {
        let end = first + matrices[n].len();
        if ABSOLUTE_POS >= first && ABSOLUTE_POS < end {
            let at = ABSOLUTE_POS - first;
            let output = &mut outputs[n];
            output[at] = Vector::cast_from(matrices[n][at]);
        }
        first = end;
    }
}

/// Casts contiguous matrices of one type to others of one type.
fn cast_all(pairs: &[(CubeTensor, CubeTensor)]) {
    let Some((first, first_output)) = pairs.first() else {
        return;
    };
    let counts = pairs.iter().map(|(x, _)| x.shape().num_elements());
    let vector = counts.clone().map(vector_size).min().unwrap_or(1);
    let (cubes, units) = elementwise(&first.client, counts.sum::<usize>() / vector);
    let buffer = |tensor: &CubeTensor| tensor.clone().into_buffer();
    cast_all_kernel::launch(
        &first.client,
        cubes,
        units,
        vector,
        pairs.iter().map(|(x, _)| buffer(x)).collect(),
        pairs.iter().map(|(_, output)| buffer(output)).collect(),
        element(first),
        element(first_output),
    );
}

/// Casts matrices to rows of one. A unit for each vector of all of them.
#[cube(launch)]
fn cast_joined_kernel<F: Float, G: Float, N: Size>(
    matrices: &Sequence<Box<[Vector<F, N>]>>,
    output: &mut [Vector<G, N>],
    #[define(F)] _from: ElemType,
    #[define(G)] _to: ElemType,
) {
    let mut first = 0;
    #[unroll]
    for n in 0..matrices.len() {
        let end = first + matrices[n].len();
        if ABSOLUTE_POS >= first && ABSOLUTE_POS < end {
            output[ABSOLUTE_POS] = Vector::cast_from(matrices[n][ABSOLUTE_POS - first]);
        }
        first = end;
    }
}

/// Matrices of one width and type below each other, in this type. None where there is none.
///
/// # Panics
///
/// Where they are of several types, of which one kernel knows nothing.
pub(super) fn joined_in_type(matrices: &[&CubeTensor], dtype: DType) -> Option<CubeTensor> {
    let first = matrices.first()?;
    let is_one_type = matrices.iter().all(|matrix| matrix.dtype == first.dtype);
    assert!(is_one_type, "a layer's adapters are of one type");
    if matrices.len() == 1 {
        return Some(in_type(first, dtype));
    }
    let width = sizes(first)[1];
    let rows = matrices.iter().map(|matrix| sizes(matrix)[0]).sum();
    let output = empty_of(first, [rows, width], dtype);
    let vector = vector_size(width);
    let (cubes, units) = elementwise(&first.client, rows * width / vector);
    let buffer = |matrix: &&CubeTensor| into_contiguous((*matrix).clone()).into_buffer();
    cast_joined_kernel::launch(
        &first.client,
        cubes,
        units,
        vector,
        matrices.iter().map(buffer).collect(),
        output.clone().into_buffer(),
        element(first),
        element(&output),
    );
    Some(output)
}

/// Matrices in this type, contiguous: themselves where they are of it. One launch casts several.
pub(super) fn all_in_type<'a>(
    matrices: impl IntoIterator<Item = &'a CubeTensor>,
    dtype: DType,
) -> Vec<CubeTensor> {
    let mut pairs = Vec::new();
    let in_type = |matrix: &CubeTensor| {
        let matrix = into_contiguous(matrix.clone());
        if matrix.dtype == dtype {
            return matrix;
        }
        let output = empty_of(&matrix, sizes(&matrix), dtype);
        pairs.push((matrix, output.clone()));
        output
    };
    let found = matrices.into_iter().map(in_type).collect();
    for same in pairs.chunk_by(|(x, _), (next, _)| x.dtype == next.dtype) {
        let most = tensors_of_a_launch(&same[0].0.client, 2, 0);
        same.chunks(most).for_each(cast_all);
    }
    found
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
