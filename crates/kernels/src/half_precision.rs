//! Operations on activations in half precision: f32 inside, one rounding of the result.

use burn::tensor::{DType, FloatDType, Tensor};

/// Whether a tensor is in half precision.
pub(crate) fn is_half<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::BF16 | DType::F16)
}

/// An operation in f32 on a tensor in half precision. Its result is rounded to the tensor's type,
/// and so is the gradient of the tensor.
pub(crate) fn in_f32<const D: usize, const E: usize>(
    x: Tensor<D>,
    operation: impl FnOnce(Tensor<D>) -> Tensor<E>,
) -> Tensor<E> {
    let half = FloatDType::from(x.dtype());
    operation(x.cast(FloatDType::F32)).cast(half)
}

/// A tensor in f32 whose elements half precision can hold: what a product takes that multiplies
/// half-precision operands and adds in f32. Its gradient is rounded too.
pub(crate) fn rounded<const D: usize>(x: Tensor<D>, half: FloatDType) -> Tensor<D> {
    x.cast(half).cast(FloatDType::F32)
}
