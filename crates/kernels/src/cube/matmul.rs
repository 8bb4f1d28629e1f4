//! Products of matrices on a GPU, in true f32.

use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn_cubecl::cubecl;
use cubecl::prelude::*;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use super::tensor::{CubeTensor, empty, sizes};

/// The matrix with rows and columns exchanged, without a copy.
pub(super) fn transposed(matrix: &CubeTensor) -> CubeTensor {
    Cube::float_transpose(matrix.clone())
}

/// `left * right`, `[rows, columns]` of `[rows, inner]` and `[inner, columns]`.
///
/// Burn's own product rounds f32 to TF32 where there are tensor cores. This one computes in f32.
pub(super) fn product(left: CubeTensor, right: CubeTensor) -> CubeTensor {
    let [rows, inner] = sizes(&left);
    let [right_inner, columns] = sizes(&right);
    assert_eq!(inner, right_inner, "the inner widths of a product");
    let output = empty(&left, [rows, columns]);
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
