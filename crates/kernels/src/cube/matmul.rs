//! Products of matrices on a GPU: f32 in true f32, bf16 with sums in f32.

use std::ops::Range;

use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, FloatDType, Slice};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

#[cfg(feature = "cuda")]
use super::cuda;
use super::launch::elementwise;
use super::tensor::{CubeTensor, IntoBuffer, element, empty_of, sizes};

/// A matrix, or some of its rows and columns, as they are or with rows and columns exchanged.
#[derive(Debug, Clone)]
pub(super) struct Block<'a> {
    /// Contiguous.
    tensor: &'a CubeTensor,
    rows: Range<usize>,
    columns: Range<usize>,
    is_transposed: bool,
}

impl<'a> Block<'a> {
    /// The whole matrix.
    ///
    /// # Panics
    ///
    /// Where it is not contiguous. Burn may leave gaps between the rows of what it computes.
    pub(super) fn of(tensor: &'a CubeTensor) -> Self {
        assert!(
            tensor.is_contiguous(),
            "a product reads contiguous matrices"
        );
        let [rows, columns] = sizes(tensor);
        Self {
            tensor,
            rows: 0..rows,
            columns: 0..columns,
            is_transposed: false,
        }
    }

    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        Self { rows, ..self }
    }

    pub(super) fn columns(self, columns: Range<usize>) -> Self {
        Self { columns, ..self }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            is_transposed: !self.is_transposed,
            ..self
        }
    }

    /// Rows and columns of the block as it stands in a product.
    fn sizes(&self) -> [usize; 2] {
        let [rows, columns] = self.stored();
        match self.is_transposed {
            true => [columns, rows],
            false => [rows, columns],
        }
    }

    /// Rows and columns of the block as it is stored.
    pub(super) fn stored(&self) -> [usize; 2] {
        [self.rows.len(), self.columns.len()]
    }

    #[cfg(feature = "cuda")]
    pub(super) fn is_transposed(&self) -> bool {
        self.is_transposed
    }

    /// Elements from one row to the next.
    pub(super) fn stride(&self) -> usize {
        sizes(self.tensor)[1]
    }

    /// Elements before the block's first.
    pub(super) fn offset(&self) -> usize {
        self.rows.start * self.stride() + self.columns.start
    }

    #[cfg(feature = "cuda")]
    pub(super) fn tensor(&self) -> &'a CubeTensor {
        self.tensor
    }

    /// The block as a matrix of its own, in f32.
    fn in_f32(&self) -> CubeTensor {
        let ranges = [
            Slice::from(self.rows.clone()),
            Slice::from(self.columns.clone()),
        ];
        let is_whole = self.stored() == sizes(self.tensor);
        let part = match is_whole {
            true => self.tensor.clone(),
            false => into_contiguous(Cube::float_slice(self.tensor.clone(), &ranges)),
        };
        let part = match part.dtype {
            DType::F32 => part,
            _ => Cube::float_cast(part, FloatDType::F32),
        };
        match self.is_transposed {
            true => Cube::float_transpose(part),
            false => part,
        }
    }
}

/// What is added to a product.
#[derive(Debug, Clone)]
pub(super) enum Addend<'a> {
    Nothing,
    /// What the output holds.
    Output,
    /// Of the output's type and sizes.
    Block(Block<'a>),
}

/// `left * right`, `[rows, columns]` of this type. Sums are in f32.
pub(super) fn product(left: &Block<'_>, right: &Block<'_>, dtype: DType) -> CubeTensor {
    let shape = [left.sizes()[0], right.sizes()[1]];
    let output = empty_of(left.tensor, shape, dtype);
    multiply(&Block::of(&output), [left, right], 1.0, &Addend::Nothing);
    output
}

/// `output = scale * left * right + addend`, rounded once. `left` and `right` are of one type; sums
/// are in f32.
///
/// On CUDA the product is cuBLASLt's where that is installed. Burn's own product would round f32 to
/// TF32 where there are tensor cores; elsewhere it is a kernel that computes in f32.
pub(super) fn multiply(
    output: &Block<'_>,
    [left, right]: [&Block<'_>; 2],
    scale: f32,
    addend: &Addend<'_>,
) {
    let ([rows, inner], [right_inner, columns]) = (left.sizes(), right.sizes());
    assert_eq!(inner, right_inner, "the inner widths of a product");
    assert_eq!(output.sizes(), [rows, columns], "the sizes of a product");
    #[cfg(feature = "cuda")]
    if cuda::is_cuda(output.tensor)
        && cuda::cublaslt::is_available()
        && cuda::cublaslt::multiply(output, [left, right], scale, addend)
    {
        return;
    }
    let product = product_in_f32(left.in_f32(), right.in_f32());
    write(output, product, scale, addend);
}

fn product_in_f32(left: CubeTensor, right: CubeTensor) -> CubeTensor {
    let output = empty_of(&left, [sizes(&left)[0], sizes(&right)[1]], DType::F32);
    let f32_type = f32::elem_type_native();
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: f32_type,
        rhs: f32_type,
        out: f32_type,
    });
    let strategy = Strategy::from(multi_level::Strategy::SimpleUnit(Default::default()));
    launch_ref(
        &strategy,
        &output.client,
        InputBinding::new(left.binding(), f32_type),
        InputBinding::new(right.binding(), f32_type),
        output.clone().binding(),
        &mut types,
    )
    .expect("the kernel of one unit a tile takes matrices of every size");
    output
}

/// Writes a product to a block, or adds it to what is there. A unit for each element.
#[cube(launch)]
fn write_kernel<F: Float>(
    product: &[f32],
    output: &mut [F],
    width: usize,
    stride: usize,
    offset: usize,
    scale: f32,
    accumulates: u32,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS < product.len() {
        let at = ABSOLUTE_POS / width * stride + ABSOLUTE_POS % width + offset;
        let mut value = product[ABSOLUTE_POS] * scale;
        if accumulates != 0 {
            value += f32::cast_from(output[at]);
        }
        output[at] = F::cast_from(value);
    }
}

/// Writes the sum of a product and a block to another block. A unit for each element.
#[cube(launch)]
#[allow(
    clippy::too_many_arguments,
    reason = "a kernel takes scalars one by one"
)]
fn write_sum_kernel<F: Float>(
    product: &[f32],
    addend: &[F],
    output: &mut [F],
    width: usize,
    stride: usize,
    offset: usize,
    addend_stride: usize,
    addend_offset: usize,
    scale: f32,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS < product.len() {
        let row = ABSOLUTE_POS / width;
        let column = ABSOLUTE_POS % width;
        let value = product[ABSOLUTE_POS] * scale;
        let other = f32::cast_from(addend[row * addend_stride + column + addend_offset]);
        output[row * stride + column + offset] = F::cast_from(value + other);
    }
}

fn write(output: &Block<'_>, product: CubeTensor, scale: f32, addend: &Addend<'_>) {
    let [rows, width] = output.stored();
    let client = &output.tensor.client;
    let (cubes, units) = elementwise(client, rows * width);
    match addend {
        Addend::Block(addend) => write_sum_kernel::launch(
            client,
            cubes,
            units,
            product.into_buffer(),
            addend.tensor.clone().into_buffer(),
            output.tensor.clone().into_buffer(),
            width,
            output.stride(),
            output.offset(),
            addend.stride(),
            addend.offset(),
            scale,
            element(output.tensor),
        ),
        Addend::Output | Addend::Nothing => write_kernel::launch(
            client,
            cubes,
            units,
            product.into_buffer(),
            output.tensor.clone().into_buffer(),
            width,
            output.stride(),
            output.offset(),
            scale,
            u32::from(matches!(addend, Addend::Output)),
            element(output.tensor),
        ),
    }
}
