//! Matrix products over the `gemm` crate, for views of slices.

use std::mem::MaybeUninit;

use super::buffer::uninitialized;

/// Parts of a product for each thread: a thread that is held up leaves its later parts to others.
const PARTS: usize = 2;

/// A view of a slice as a matrix: contiguous rows `stride` elements apart, or their transpose.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The first `rows * columns` values, row by row.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// Rows of `columns` values, the first at the slice's start, `stride` apart.
    pub(crate) fn strided(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(fits(values.len(), rows, columns, stride));
        Self {
            values,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The same values with rows and columns exchanged.
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

/// Whether `rows` rows of `columns` values, `stride` apart, lie in a slice of `len` values.
fn fits(len: usize, rows: usize, columns: usize, stride: usize) -> bool {
    columns <= stride && (rows == 0 || (rows - 1) * stride + columns <= len)
}

/// Where a product is written.
pub(crate) enum Output<'a> {
    /// The product replaces what is there, which may be uninitialized.
    Overwrite(&'a mut [MaybeUninit<f32>]),
    /// The product is added to what is there.
    Accumulate(&'a mut [f32]),
}

/// On how many threads a product is computed.
#[derive(Clone, Copy)]
pub(crate) enum Parallelism {
    /// On the calling thread.
    Serial,
    /// On all of rayon's threads.
    Rayon,
}

/// The product `scale * left right`, to be written where its methods say.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    left: Matrix<'a>,
    right: Matrix<'a>,
    scale: f32,
    parallelism: Parallelism,
}

impl<'a> Product<'a> {
    /// `left right`.
    pub(crate) fn new(left: Matrix<'a>, right: Matrix<'a>, parallelism: Parallelism) -> Self {
        assert_eq!(left.columns, right.rows);
        Self {
            left,
            right,
            scale: 1.0,
            parallelism,
        }
    }

    /// The same, multiplied by `scale`.
    pub(crate) fn scaled(self, scale: f32) -> Self {
        Self { scale, ..self }
    }

    /// A new matrix, row by row.
    pub(crate) fn to_vec(self) -> Vec<f32> {
        let mut output = uninitialized(self.left.rows * self.right.columns);
        self.overwrite(&mut output);
        // SAFETY: `overwrite` has initialized all of it.
        unsafe { output.assume_init() }.into_vec()
    }

    /// Replaces the whole slice by the matrix, row by row, and returns it initialized.
    pub(crate) fn overwrite(self, output: &mut [MaybeUninit<f32>]) -> &mut [f32] {
        assert_eq!(output.len(), self.left.rows * self.right.columns);
        self.write(Output::Overwrite(output), self.right.columns);
        // SAFETY: `write` has initialized every row, and the rows are the whole slice.
        unsafe { output.assume_init_mut() }
    }

    /// Adds the matrix, row by row, to the slice's start.
    pub(crate) fn accumulate(self, output: &mut [f32]) {
        self.write(Output::Accumulate(output), self.right.columns);
    }

    /// Writes each row of the matrix to `output`, where rows are `stride` elements apart. The
    /// elements of the rows are initialized after that; those between rows are not touched.
    pub(crate) fn write(self, output: Output<'_>, stride: usize) {
        let Self {
            left,
            right,
            scale,
            parallelism,
        } = self;
        let (start, len, accumulates) = match output {
            Output::Overwrite(values) => (values.as_mut_ptr().cast(), values.len(), false),
            Output::Accumulate(values) => (values.as_mut_ptr(), values.len(), true),
        };
        assert!(fits(len, left.rows, right.columns, stride));
        // SAFETY: the assertions here, in `new` and in `Matrix::strided` keep every index that the
        // strides reach inside the slices. `output` is borrowed mutably, so it overlaps neither
        // operand; gemm reads it only where it accumulates, into initialized values.
        unsafe {
            gemm::gemm(
                left.rows,
                right.columns,
                left.columns,
                start,
                1,
                stride as isize,
                accumulates,
                left.values.as_ptr(),
                left.column_stride as isize,
                left.row_stride as isize,
                right.values.as_ptr(),
                right.column_stride as isize,
                right.row_stride as isize,
                1.0,
                scale,
                false,
                false,
                false,
                match parallelism {
                    Parallelism::Serial => gemm::Parallelism::None,
                    Parallelism::Rayon => {
                        gemm::Parallelism::Rayon(PARTS * rayon::current_num_threads())
                    }
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_overwrites_or_accumulates_its_rows_only() {
        let (left, right) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0]);
        let (left, right) = (Matrix::new(&left, 2, 2), Matrix::new(&right, 2, 1));
        let product = Product::new(left, right, Parallelism::Serial);
        assert_eq!(product.to_vec(), [17.0, 39.0]);
        let mut values = [1.0; 4];
        product
            .scaled(2.0)
            .write(Output::Accumulate(&mut values), 3);
        assert_eq!(values, [35.0, 1.0, 1.0, 79.0]);
        let transposed = Product::new(right.transposed(), left.transposed(), Parallelism::Rayon);
        let mut values = uninitialized(2);
        assert_eq!(transposed.overwrite(&mut values), [17.0, 39.0]);
    }

    #[test]
    #[should_panic(expected = "fits(len")]
    fn an_output_that_is_too_short_is_refused() {
        let values = [1.0; 4];
        let matrix = Matrix::new(&values, 2, 2);
        Product::new(matrix, matrix, Parallelism::Serial).accumulate(&mut [0.0; 3]);
    }
}
