//! Flex's tensors as slices, and back.

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
};
use burn::tensor::{Int, Shape, Tensor, TensorData};

/// Flex's tensor of floating-point elements.
pub(crate) type FlexTensor = FloatTensor<Flex>;

/// The elements of a contiguous f32 tensor.
pub(crate) fn as_slice(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice()
        .expect("kernels are given contiguous f32 tensors")
}

/// The tensor of these elements.
pub(crate) fn from_vec(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A tensor to be changed in place: itself where nobody else holds its elements, else a copy.
pub(crate) fn into_unique(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    let is_whole = layout.is_contiguous()
        && layout.start_offset() == 0
        && tensor.storage::<f32>().len() == layout.num_elements();
    if is_whole && tensor.is_unique() {
        return tensor;
    }
    let shape = tensor.layout().shape().clone();
    let contiguous = tensor.to_contiguous();
    from_vec(as_slice(&contiguous).to_vec(), shape)
}

/// Flex's tensor under a Burn tensor without a graph.
pub(crate) fn into_flex<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Flex(tensor) => tensor.float(),
        other => unreachable!("`supports` let a tensor through that is not flex's: {other:?}"),
    }
}

/// Flex's tensor under a Burn tensor of integers.
pub(crate) fn into_flex_int<const D: usize>(tensor: Tensor<D, Int>) -> FlexTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Flex(tensor) => tensor.int(),
        other => unreachable!("`supports` let a tensor through that is not flex's: {other:?}"),
    }
}

/// The Burn tensor without a graph over flex's tensor.
pub(crate) fn from_flex<const D: usize>(tensor: FlexTensor) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Flex(BackendTensor::Float(tensor)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}
