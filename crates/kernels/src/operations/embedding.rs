//! An embedding table in Burn's graph.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use crate::flex::embedding::{backward, forward};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec};

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
trait Embedding: Backend {
    fn embedding(
        table: FloatTensor<Self>,
        token_ids: Arc<[u32]>,
        padding: Option<u32>,
    ) -> FloatTensor<Self>;
}

/// See [`crate::embedding()`].
pub(crate) fn embedding(
    table: Tensor<2>,
    token_ids: Arc<[u32]>,
    padding: Option<u32>,
) -> Tensor<2> {
    let output = <Dispatch as Embedding>::embedding(table.into_dispatch(), token_ids, padding);
    Tensor::from_dispatch(output)
}

/// The passes of an embedding over a backend's tensors, which need not be contiguous.
pub(crate) trait EmbeddingPasses: Backend {
    /// The rows `token_ids` of the table.
    fn forward(table: FloatTensor<Self>, token_ids: &[u32]) -> FloatTensor<Self>;

    /// The gradient of a table of this shape. Rows of `padding` get none.
    fn backward(
        shape: Shape,
        token_ids: &[u32],
        padding: Option<u32>,
        grad_output: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl EmbeddingPasses for Flex {
    fn forward(table: FlexTensor, token_ids: &[u32]) -> FlexTensor {
        let table = table.to_contiguous();
        let hidden = table.layout().shape()[1];
        let output = forward(as_slice(&table), hidden, token_ids);
        from_vec(output, Shape::new([token_ids.len(), hidden]))
    }

    fn backward(
        shape: Shape,
        token_ids: &[u32],
        padding: Option<u32>,
        grad_output: FlexTensor,
    ) -> FlexTensor {
        let grad_output = grad_output.to_contiguous();
        let mut grad_table = vec![0.0; shape.num_elements()];
        let grad_output = as_slice(&grad_output);
        backward(&mut grad_table, shape[1], token_ids, padding, grad_output);
        from_vec(grad_table, shape)
    }
}

impl<B: EmbeddingPasses> Embedding for B {
    fn embedding(
        table: FloatTensor<B>,
        token_ids: Arc<[u32]>,
        _padding: Option<u32>,
    ) -> FloatTensor<B> {
        B::forward(table, &token_ids)
    }
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Saved {
    table_shape: Shape,
    token_ids: Arc<[u32]>,
    padding: Option<u32>,
}

#[derive(Debug)]
struct EmbeddingBackward;

impl<B: EmbeddingPasses> Backward<B, 1> for EmbeddingBackward {
    type State = Saved;

    fn backward(
        self,
        ops: Ops<Saved, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let grad_output = gradients.consume::<B>(&ops.node);
        let Some(node) = node else { return };
        let Saved {
            table_shape,
            token_ids,
            padding,
        } = ops.state;
        let grad_table = B::backward(table_shape, &token_ids, padding, grad_output);
        gradients.register::<B>(node.id, grad_table);
    }
}

impl<B: EmbeddingPasses, C: CheckpointStrategy> Embedding for Autodiff<B, C> {
    fn embedding(
        table: FloatTensor<Self>,
        token_ids: Arc<[u32]>,
        padding: Option<u32>,
    ) -> FloatTensor<Self> {
        let operation = EmbeddingBackward
            .prepare::<C>([table.node()])
            .compute_bound()
            .stateful();
        let table = table.into_primitive();
        let table_shape = table.shape();
        let output = B::forward(table, &token_ids);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(
                Saved {
                    table_shape,
                    token_ids,
                    padding,
                },
                output,
            ),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
