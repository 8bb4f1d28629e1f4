//! Matrix products: one function over the `gemm` crate, for views of slices.

use gemm::Parallelism;

/// Parts of a product for each thread: one that is held up leaves its later parts to the others.
const PARTS: usize = 2;

/// A matrix in a slice: rows of `columns` contiguous numbers, `stride` apart; or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` numbers, the first at the slice's start, `stride` apart.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride && (rows == 0 || (rows - 1) * stride + columns <= data.len()));
        Self {
            data,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The same numbers with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Whether a product takes what the result's place holds into account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// The place is overwritten; it may hold anything.
    Place,
    /// The product is added to what is there.
    Sum,
}

/// `out (+)= scale * left right`, `out` being rows of `right.columns` numbers `stride` apart. On one thread, or on all of
/// rayon's.
pub(crate) fn matmul(
    out: &mut [f32],
    stride: usize,
    into: Into,
    scale: f32,
    left: Matrix<'_>,
    right: Matrix<'_>,
    is_parallel: bool,
) {
    let (rows, columns) = (left.rows, right.columns);
    assert_eq!(left.columns, right.rows);
    assert!(columns <= stride && (rows == 0 || (rows - 1) * stride + columns <= out.len()));
    // SAFETY: the assertions here and in `Matrix::new` keep every index that the strides reach inside the slices;
    // `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            stride as isize,
            into == Into::Sum,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            match is_parallel {
                true => Parallelism::Rayon(PARTS * rayon::current_num_threads()),
                false => Parallelism::None,
            },
        );
    }
}
