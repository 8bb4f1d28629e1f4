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

use crate::flex::linear_cross_entropy as pass;
use crate::flex::tensor::{FlexTensor, as_slice, from_vec, into_unique};
use crate::target_table::TargetTable;

pub(crate) use pass::Wanted;

/// An owned target table, and how many rows of logits may be held.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    row: Arc<[u32]>,
    token: Arc<[u32]>,
    weight: Arc<[f32]>,
    pub(crate) chunk: usize,
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

    pub(crate) fn table(&self) -> TargetTable<'_> {
        TargetTable {
            row: &self.row,
            token: &self.token,
            weight: &self.weight,
        }
    }
}

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
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

/// What the forward pass returns.
pub(crate) struct LossAndGradients<T> {
    /// `[1]`: the weighted sum.
    pub(crate) loss: T,
    /// `[targets]`, unweighted.
    pub(crate) target_losses: T,
    /// `[rows, hidden]` and `[vocab, hidden]`, where wanted.
    pub(crate) gradients: [Option<T>; 2],
}

/// The passes of a cross-entropy over a backend's tensors.
pub(crate) trait CrossEntropyPasses: Backend {
    /// The loss and the wanted gradients, of tensors that need not be contiguous.
    fn loss_and_gradients(
        hidden: FloatTensor<Self>,
        lm_head: FloatTensor<Self>,
        targets: &Targets,
        wanted: Wanted,
    ) -> LossAndGradients<FloatTensor<Self>>;

    /// A gradient of the loss, times the gradient `[1]` of the loss itself.
    fn scaled(gradient: FloatTensor<Self>, grad_loss: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn vector(values: Vec<f32>) -> FlexTensor {
    let count = values.len();
    from_vec(values, Shape::new([count]))
}

impl CrossEntropyPasses for Flex {
    fn loss_and_gradients(
        hidden: FlexTensor,
        lm_head: FlexTensor,
        targets: &Targets,
        wanted: Wanted,
    ) -> LossAndGradients<FlexTensor> {
        let (hidden, lm_head) = (hidden.to_contiguous(), lm_head.to_contiguous());
        let sizes = |x: &FlexTensor| [0, 1].map(|dimension| x.layout().shape()[dimension]);
        let [rows, hidden_size] = sizes(&hidden);
        let shape = pass::Shape {
            rows,
            hidden_size,
            vocab: sizes(&lm_head)[0],
        };
        let found = pass::forward(
            shape,
            as_slice(&hidden),
            as_slice(&lm_head),
            targets.table(),
            targets.chunk,
            wanted,
        );
        let gradient = |values: Option<Vec<f32>>, x: &FlexTensor| {
            values.map(|values| from_vec(values, x.shape()))
        };
        LossAndGradients {
            loss: vector(vec![found.loss]),
            target_losses: vector(found.target_losses),
            gradients: [
                gradient(found.grad_hidden, &hidden),
                gradient(found.grad_lm_head, &lm_head),
            ],
        }
    }

    fn scaled(gradient: FlexTensor, grad_loss: FlexTensor) -> FlexTensor {
        let factor = as_slice(&grad_loss.to_contiguous())[0];
        if factor == 1.0 {
            return gradient;
        }
        let mut gradient = into_unique(gradient);
        let values: &mut [f32] = gradient.storage_mut();
        values.par_iter_mut().for_each(|x| *x *= factor);
        gradient
    }
}

impl<B: CrossEntropyPasses> CrossEntropy for B {
    fn linear_cross_entropy(
        hidden: FloatTensor<B>,
        lm_head: FloatTensor<B>,
        targets: Targets,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let wanted = Wanted {
            hidden: false,
            lm_head: false,
        };
        let found = B::loss_and_gradients(hidden, lm_head, &targets, wanted);
        (found.loss, found.target_losses)
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl<B: CrossEntropyPasses> Backward<B, 2> for CrossEntropyBackward {
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad_loss = gradients.consume::<B>(&ops.node);
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                gradients.register::<B>(node.id, B::scaled(gradient, grad_loss.clone()));
            }
        }
    }
}

impl<B: CrossEntropyPasses, C: CheckpointStrategy> CrossEntropy for Autodiff<B, C> {
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
        let found = B::loss_and_gradients(
            hidden.into_primitive(),
            lm_head.into_primitive(),
            &targets,
            wanted,
        );
        let losses = <Self as AutodiffBackend>::from_inner(found.target_losses);
        let loss = match operation {
            OpsKind::Tracked(operation) => operation.finish(found.gradients, found.loss),
            OpsKind::UnTracked(operation) => operation.finish(found.loss),
        };
        (loss, losses)
    }
}
