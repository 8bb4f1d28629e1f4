//! RMSNorm in Burn's graph.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::flex::rms_norm::{backward, forward};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec};

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

/// The output, and each row's scale.
fn normalize(x: &FlexTensor, weight: &FlexTensor, epsilon: f64) -> (FlexTensor, Vec<f32>) {
    let (output, scales) = forward(as_slice(x), as_slice(weight), epsilon as f32);
    (from_vec(output, x.shape()), scales)
}

impl RmsNorm for Flex {
    fn rms_norm(x: FlexTensor, weight: FlexTensor, epsilon: f64) -> FlexTensor {
        normalize(&x.to_contiguous(), &weight.to_contiguous(), epsilon).0
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl Backward<Flex, 2> for RmsNormBackward {
    type State = (FlexTensor, FlexTensor, Arc<[f32]>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node] = ops.parents;
        let (x, weight, scales) = ops.state;
        let grad_output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (grad_x, grad_weight) = backward(
            as_slice(&x),
            as_slice(&weight),
            &scales,
            as_slice(&grad_output),
        );
        if let Some(node) = x_node {
            gradients.register::<Flex>(node.id, from_vec(grad_x, x.shape()));
        }
        if let Some(node) = weight_node {
            gradients.register::<Flex>(node.id, from_vec(grad_weight, weight.shape()));
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
        let (output, scales) = normalize(&x, &weight, epsilon);
        match operation {
            OpsKind::Tracked(operation) => operation.finish((x, weight, scales.into()), output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
