//! Weighted cross-entropy through a language-model head in Burn's graph. The forward pass computes
//! the gradients too, and the backward pass hands them on.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::{Shape, Tensor};
use rayon::prelude::*;

use crate::flex::linear_cross_entropy::{self as pass, LossAndGradients, Wanted};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec, into_unique};
use crate::target_table::TargetTable;

/// An owned target table, and how many rows of logits may be held.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    row: Arc<[u32]>,
    token: Arc<[u32]>,
    weight: Arc<[f32]>,
    chunk: usize,
}

impl Targets {
    pub(crate) fn new(table: TargetTable<'_>, chunk: usize) -> Self {
        Self {
            row: table.row.into(),
            token: table.token.into(),
            weight: table.weight.into(),
            chunk,
        }
    }
}

#[backend_extension(Flex, Autodiff)]
trait CrossEntropy: Backend {
    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        lm_head: FloatTensor<Self>,
        targets: Targets,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The loss `[1]` and the losses of the targets `[targets]`. See
/// [`crate::linear_cross_entropy()`].
pub(crate) fn linear_cross_entropy(
    hidden: Tensor<2>,
    lm_head: Tensor<2>,
    targets: Targets,
) -> (Tensor<1>, Tensor<1>) {
    let (loss, losses) = <Dispatch as CrossEntropy>::linear_cross_entropy(
        hidden.into_dispatch(),
        lm_head.into_dispatch(),
        targets,
    );
    (Tensor::from_dispatch(loss), Tensor::from_dispatch(losses))
}

fn loss_and_gradients(
    hidden: &FlexTensor,
    lm_head: &FlexTensor,
    targets: &Targets,
    wanted: Wanted,
) -> LossAndGradients {
    let sizes = |x: &FlexTensor| [0, 1].map(|dimension| x.layout().shape()[dimension]);
    let [rows, hidden_size] = sizes(hidden);
    let shape = pass::Shape {
        rows,
        hidden_size,
        vocab: sizes(lm_head)[0],
    };
    let table = TargetTable {
        row: &targets.row,
        token: &targets.token,
        weight: &targets.weight,
    };
    pass::forward(
        shape,
        as_slice(hidden),
        as_slice(lm_head),
        table,
        targets.chunk,
        wanted,
    )
}

fn vector(values: Vec<f32>) -> FlexTensor {
    let count = values.len();
    from_vec(values, Shape::new([count]))
}

impl CrossEntropy for Flex {
    fn linear_cross_entropy(
        hidden: FlexTensor,
        lm_head: FlexTensor,
        targets: Targets,
    ) -> (FlexTensor, FlexTensor) {
        let (hidden, lm_head) = (hidden.to_contiguous(), lm_head.to_contiguous());
        let wanted = Wanted {
            hidden: false,
            lm_head: false,
        };
        let found = loss_and_gradients(&hidden, &lm_head, &targets, wanted);
        (vector(vec![found.loss]), vector(found.target_losses))
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl Backward<Flex, 2> for CrossEntropyBackward {
    type State = [Option<FlexTensor>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad_loss = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let factor = as_slice(&grad_loss)[0];
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                gradients.register::<Flex>(node.id, scaled(gradient, factor));
            }
        }
    }
}

fn scaled(tensor: FlexTensor, factor: f32) -> FlexTensor {
    if factor == 1.0 {
        return tensor;
    }
    let mut tensor = into_unique(tensor);
    let values: &mut [f32] = tensor.storage_mut();
    values.par_iter_mut().for_each(|x| *x *= factor);
    tensor
}

impl<C: CheckpointStrategy> CrossEntropy for Autodiff<Flex, C> {
    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        lm_head: FloatTensor<Self>,
        targets: Targets,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let wanted = Wanted {
            hidden: hidden.is_tracked(),
            lm_head: lm_head.is_tracked(),
        };
        let operation = CrossEntropyBackward
            .prepare::<C>([hidden.node(), lm_head.node()])
            .compute_bound()
            .stateful();
        let hidden = hidden.into_primitive().to_contiguous();
        let lm_head = lm_head.into_primitive().to_contiguous();
        let found = loss_and_gradients(&hidden, &lm_head, &targets, wanted);
        let losses = <Self as AutodiffBackend>::from_inner(vector(found.target_losses));
        let loss = vector(vec![found.loss]);
        let loss = match operation {
            OpsKind::Tracked(operation) => {
                let gradient = |values: Option<Vec<f32>>, x: &FlexTensor| {
                    values.map(|values| from_vec(values, x.shape()))
                };
                let state = [
                    gradient(found.grad_hidden, &hidden),
                    gradient(found.grad_lm_head, &lm_head),
                ];
                operation.finish(state, loss)
            }
            OpsKind::UnTracked(operation) => operation.finish(loss),
        };
        (loss, losses)
    }
}
