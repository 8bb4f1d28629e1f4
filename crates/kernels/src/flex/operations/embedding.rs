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

#[backend_extension(Flex, Autodiff)]
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

impl Embedding for Flex {
    fn embedding(table: FlexTensor, token_ids: Arc<[u32]>, _padding: Option<u32>) -> FlexTensor {
        let table = table.to_contiguous();
        let hidden = table.layout().shape()[1];
        let output = forward(as_slice(&table), hidden, &token_ids);
        from_vec(output, Shape::new([token_ids.len(), hidden]))
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

impl Backward<Flex, 1> for EmbeddingBackward {
    type State = Saved;

    fn backward(
        self,
        ops: Ops<Saved, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let grad_output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Some(node) = node else { return };
        let Saved {
            table_shape: shape,
            token_ids,
            padding,
        } = ops.state;
        let mut grad_table = vec![0.0; shape.num_elements()];
        let grad_output = as_slice(&grad_output);
        backward(&mut grad_table, shape[1], &token_ids, padding, grad_output);
        gradients.register::<Flex>(node.id, from_vec(grad_table, shape));
    }
}

impl<C: CheckpointStrategy> Embedding for Autodiff<Flex, C> {
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
        let output = Flex::embedding(table, token_ids.clone(), padding);
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
