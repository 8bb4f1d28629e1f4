//! Rotary positions in Burn's graph.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::{Numbers, own};
use crate::flex::rope::{self, Turn};

/// Cosines and sines, `[batch * seq, head_dim / 2]` each.
pub(crate) type Angles = [Arc<[f32]>; 2];

#[backend_extension(Flex, Autodiff)]
trait Rotate: Backend {
    fn rotate(heads: FloatTensor<Self>, angles: Angles) -> FloatTensor<Self>;
}

/// See [`crate::rotate()`].
pub(crate) fn rotate(heads: Tensor<4>, angles: Angles) -> Tensor<4> {
    let rotated = <Dispatch as Rotate>::rotate(heads.into_dispatch(), angles);
    Tensor::from_dispatch(rotated)
}

fn turned(numbers: Numbers, [cosines, sines]: &Angles, turn: Turn) -> Numbers {
    let mut numbers = own(numbers);
    let [heads, head_dim] = [2, 3].map(|dimension| numbers.layout().shape()[dimension]);
    let width = heads * head_dim;
    rope::rotate(numbers.storage_mut(), width, heads, cosines, sines, turn);
    numbers
}

impl Rotate for Flex {
    fn rotate(heads: Numbers, angles: Angles) -> Numbers {
        turned(heads, &angles, Turn::Forward)
    }
}

#[derive(Debug)]
struct RotateBackward;

impl Backward<Flex, 1> for RotateBackward {
    type State = Angles;

    fn backward(
        self,
        ops: Ops<Angles, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let upper = gradients.consume::<Flex>(&ops.node);
        if let Some(node) = node {
            gradients.register::<Flex>(node.id, turned(upper, &ops.state, Turn::Back));
        }
    }
}

impl<C: CheckpointStrategy> Rotate for Autodiff<Flex, C> {
    fn rotate(heads: FloatTensor<Self>, angles: Angles) -> FloatTensor<Self> {
        let operation = RotateBackward
            .prepare::<C>([heads.node()])
            .compute_bound()
            .stateful();
        let output = turned(heads.into_primitive(), &angles, Turn::Forward);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(angles, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
