//! RMSNorm in Burn's graph.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::{Numbers, slice, tensor};
use crate::flex::buffer::buffer;
use crate::flex::rms_norm::{backward, forward};

#[backend_extension(Flex, Autodiff)]
trait RmsNorm: Backend {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64)
    -> FloatTensor<Self>;
}

/// See [`crate::rms_norm()`].
pub(crate) fn rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as RmsNorm>::rms_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        epsilon,
    ))
}

fn normalised(x: &Numbers, weight: &Numbers, epsilon: f64) -> (Numbers, Vec<f32>) {
    let (numbers, weight) = (slice(x), slice(weight));
    let mut output = buffer(numbers.len());
    let mut scales = buffer(numbers.len() / weight.len());
    forward(numbers, weight, epsilon as f32, &mut output, &mut scales);
    (tensor(output, x.shape()), scales)
}

impl RmsNorm for Flex {
    fn rms_norm(x: Numbers, weight: Numbers, epsilon: f64) -> Numbers {
        normalised(&x.to_contiguous(), &weight.to_contiguous(), epsilon).0
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl Backward<Flex, 2> for RmsNormBackward {
    type State = (Numbers, Numbers, Arc<[f32]>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node] = ops.parents;
        let (x, weight, scales) = ops.state;
        let upper = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let mut of_x = buffer(slice(&x).len());
        let of_weight = backward(slice(&x), slice(&weight), &scales, slice(&upper), &mut of_x);
        if let Some(node) = x_node {
            gradients.register::<Flex>(node.id, tensor(of_x, x.shape()));
        }
        if let Some(node) = weight_node {
            gradients.register::<Flex>(node.id, tensor(of_weight, weight.shape()));
        }
    }
}

impl<C: CheckpointStrategy> RmsNorm for Autodiff<Flex, C> {
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let operation = RmsNormBackward
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        let x = x.into_primitive().to_contiguous();
        let weight = weight.into_primitive().to_contiguous();
        let (output, scales) = normalised(&x, &weight, epsilon);
        match operation {
            OpsKind::Tracked(operation) => operation.finish((x, weight, scales.into()), output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
