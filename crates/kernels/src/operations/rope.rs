//! Rotary position embeddings in Burn's graph.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use crate::flex::rope::{self, Direction};
use crate::flex::tensor::{FlexTensor, into_unique};
use crate::rotary_embedding::RotaryEmbedding;

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
trait ApplyRotary: Backend {
    fn apply_rotary(heads: FloatTensor<Self>, rotary: RotaryEmbedding) -> FloatTensor<Self>;
}

/// See [`crate::apply_rotary()`].
pub(crate) fn apply_rotary(heads: Tensor<4>, rotary: RotaryEmbedding) -> Tensor<4> {
    let rotated = <Dispatch as ApplyRotary>::apply_rotary(heads.into_dispatch(), rotary);
    Tensor::from_dispatch(rotated)
}

/// The pass of rotary embeddings over a backend's tensors.
pub(crate) trait RotaryPass: Backend {
    /// `[batch, seq, heads, head_dim]`, rotated: in place where nobody else holds it.
    fn rotated(
        heads: FloatTensor<Self>,
        rotary: &RotaryEmbedding,
        direction: Direction,
    ) -> FloatTensor<Self>;
}

impl RotaryPass for Flex {
    fn rotated(heads: FlexTensor, rotary: &RotaryEmbedding, direction: Direction) -> FlexTensor {
        let mut tensor = into_unique(heads);
        let [heads, head_dim] = [2, 3].map(|dimension| tensor.layout().shape()[dimension]);
        let width = heads * head_dim;
        let (cosines, sines) = (&rotary.cosines, &rotary.sines);
        let values = tensor.storage_mut();
        rope::rotate(values, width, heads, cosines, sines, direction);
        tensor
    }
}

impl<B: RotaryPass> ApplyRotary for B {
    fn apply_rotary(heads: FloatTensor<B>, rotary: RotaryEmbedding) -> FloatTensor<B> {
        B::rotated(heads, &rotary, Direction::Forward)
    }
}

#[derive(Debug)]
struct ApplyRotaryBackward;

impl<B: RotaryPass> Backward<B, 1> for ApplyRotaryBackward {
    type State = RotaryEmbedding;

    fn backward(
        self,
        ops: Ops<RotaryEmbedding, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let grad_output = gradients.consume::<B>(&ops.node);
        if let Some(node) = node {
            let grad_heads = B::rotated(grad_output, &ops.state, Direction::Inverse);
            gradients.register::<B>(node.id, grad_heads);
        }
    }
}

impl<B: RotaryPass, C: CheckpointStrategy> ApplyRotary for Autodiff<B, C> {
    fn apply_rotary(heads: FloatTensor<Self>, rotary: RotaryEmbedding) -> FloatTensor<Self> {
        let operation = ApplyRotaryBackward
            .prepare::<C>([heads.node()])
            .compute_bound()
            .stateful();
        let output = B::rotated(heads.into_primitive(), &rotary, Direction::Forward);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(rotary, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
