//! Rotary position embeddings in Burn's graph.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use crate::flex::rope::{self, Direction};
use crate::flex::tensor::{FlexTensor, into_unique};

/// Cosines and sines, `[batch * seq, head_dim / 2]` each.
pub(crate) type Angles = [Arc<[f32]>; 2];

#[backend_extension(Flex, Autodiff)]
trait ApplyRotary: Backend {
    fn apply_rotary(heads: FloatTensor<Self>, angles: Angles) -> FloatTensor<Self>;
}

/// See [`crate::apply_rotary()`].
pub(crate) fn apply_rotary(heads: Tensor<4>, angles: Angles) -> Tensor<4> {
    let rotated = <Dispatch as ApplyRotary>::apply_rotary(heads.into_dispatch(), angles);
    Tensor::from_dispatch(rotated)
}

fn rotated(tensor: FlexTensor, [cosines, sines]: &Angles, direction: Direction) -> FlexTensor {
    let mut tensor = into_unique(tensor);
    let [heads, head_dim] = [2, 3].map(|dimension| tensor.layout().shape()[dimension]);
    let width = heads * head_dim;
    let values = tensor.storage_mut();
    rope::rotate(values, width, heads, cosines, sines, direction);
    tensor
}

impl ApplyRotary for Flex {
    fn apply_rotary(heads: FlexTensor, angles: Angles) -> FlexTensor {
        rotated(heads, &angles, Direction::Forward)
    }
}

#[derive(Debug)]
struct ApplyRotaryBackward;

impl Backward<Flex, 1> for ApplyRotaryBackward {
    type State = Angles;

    fn backward(
        self,
        ops: Ops<Angles, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let grad_output = gradients.consume::<Flex>(&ops.node);
        if let Some(node) = node {
            let grad_heads = rotated(grad_output, &ops.state, Direction::Inverse);
            gradients.register::<Flex>(node.id, grad_heads);
        }
    }
}

impl<C: CheckpointStrategy> ApplyRotary for Autodiff<Flex, C> {
    fn apply_rotary(heads: FloatTensor<Self>, angles: Angles) -> FloatTensor<Self> {
        let operation = ApplyRotaryBackward
            .prepare::<C>([heads.node()])
            .compute_bound()
            .stateful();
        let output = rotated(heads.into_primitive(), &angles, Direction::Forward);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(angles, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
