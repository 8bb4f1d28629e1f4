//! An embedding table in Burn's graph.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::{Numbers, slice, tensor};
use crate::flex::embedding::{add_rows, rows};

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
    fn embedding(table: Numbers, token_ids: Arc<[u32]>, _padding: Option<u32>) -> Numbers {
        let table = table.to_contiguous();
        let hidden = table.layout().shape()[1];
        let found = rows(slice(&table), hidden, &token_ids);
        tensor(found, Shape::new([token_ids.len(), hidden]))
    }
}

#[derive(Debug)]
struct EmbeddingBackward;

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Lookup {
    /// The table's.
    shape: Shape,
    token_ids: Arc<[u32]>,
    padding: Option<u32>,
}

impl Backward<Flex, 1> for EmbeddingBackward {
    type State = Lookup;

    fn backward(
        self,
        ops: Ops<Lookup, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let upper = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Some(node) = node else { return };
        let Lookup {
            shape,
            token_ids,
            padding,
        } = ops.state;
        let mut gradient = vec![0.0; shape.num_elements()];
        add_rows(&mut gradient, shape[1], &token_ids, padding, slice(&upper));
        gradients.register::<Flex>(node.id, tensor(gradient, shape));
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
        let shape = table.shape();
        let output = Flex::embedding(table, token_ids.clone(), padding);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(
                Lookup {
                    shape,
                    token_ids,
                    padding,
                },
                output,
            ),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
