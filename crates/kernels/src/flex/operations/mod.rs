//! The kernels as operations of Burn's graph, each with its own backward pass.

pub(crate) mod attention;
pub(crate) mod embedding;
pub(crate) mod linear;
pub(crate) mod linear_cross_entropy;
pub(crate) mod rms_norm;
pub(crate) mod rotate;
pub(crate) mod swiglu;

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
};
use burn::tensor::{Shape, Tensor, TensorData};

/// Flex's tensor of floating-point numbers.
pub(crate) type Numbers = FloatTensor<Flex>;

pub(crate) fn slice(numbers: &Numbers) -> &[f32] {
    numbers
        .as_slice()
        .expect("f32 was asked for, and made contiguous")
}

pub(crate) fn tensor(numbers: Vec<f32>, shape: Shape) -> Numbers {
    Numbers::from_data(TensorData::new(numbers, shape))
}

/// A tensor's numbers to be changed in place: its own where nobody else has them, else a copy.
pub(crate) fn own(numbers: Numbers) -> Numbers {
    let layout = numbers.layout();
    let is_whole = layout.is_contiguous()
        && layout.start_offset() == 0
        && numbers.storage::<f32>().len() == layout.num_elements();
    if is_whole && numbers.is_unique() {
        return numbers;
    }
    let shape = numbers.layout().shape().clone();
    let contiguous = numbers.to_contiguous();
    tensor(slice(&contiguous).to_vec(), shape)
}

/// A tensor without a graph on flex.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Numbers {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Flex(numbers) => numbers.float(),
        other => unreachable!("a flex tensor was asked for, not {other:?}"),
    }
}

/// The tensor of such numbers.
pub(crate) fn from_numbers<const D: usize>(numbers: Numbers) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Flex(BackendTensor::Float(numbers)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}
