//! Weighted cross-entropy through a classifier in Burn's graph: the gradients are there after the forward pass.

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

use super::{Numbers, own, slice, tensor};
use crate::TargetTable;
use crate::flex::linear_cross_entropy::{self as pass, Found};

/// A target table of its own, and how many rows of logits may be held.
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
        classifier: FloatTensor<Self>,
        targets: Targets,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The loss `[1]` and the targets' losses `[targets]`. See [`crate::linear_cross_entropy()`].
pub(crate) fn linear_cross_entropy(
    hidden: Tensor<2>,
    classifier: Tensor<2>,
    targets: Targets,
) -> (Tensor<1>, Tensor<1>) {
    let (loss, losses) = <Dispatch as CrossEntropy>::linear_cross_entropy(
        hidden.into_dispatch(),
        classifier.into_dispatch(),
        targets,
    );
    (Tensor::from_dispatch(loss), Tensor::from_dispatch(losses))
}

fn find(hidden: &Numbers, classifier: &Numbers, targets: &Targets, wanted: [bool; 2]) -> Found {
    let sizes = |x: &Numbers| [0, 1].map(|dimension| x.layout().shape()[dimension]);
    let [rows, hidden_size] = sizes(hidden);
    let shape = pass::Shape {
        rows,
        hidden_size,
        vocab: sizes(classifier)[0],
    };
    let table = TargetTable {
        row: &targets.row,
        token: &targets.token,
        weight: &targets.weight,
    };
    pass::forward(
        shape,
        slice(hidden),
        slice(classifier),
        table,
        targets.chunk,
        wanted,
    )
}

fn column(numbers: Vec<f32>) -> Numbers {
    let count = numbers.len();
    tensor(numbers, Shape::new([count]))
}

impl CrossEntropy for Flex {
    fn linear_cross_entropy(
        hidden: Numbers,
        classifier: Numbers,
        targets: Targets,
    ) -> (Numbers, Numbers) {
        let (hidden, classifier) = (hidden.to_contiguous(), classifier.to_contiguous());
        let found = find(&hidden, &classifier, &targets, [false; 2]);
        (column(vec![found.loss]), column(found.target_losses))
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl Backward<Flex, 2> for CrossEntropyBackward {
    type State = [Option<Numbers>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upper = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let factor = slice(&upper)[0];
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                gradients.register::<Flex>(node.id, scaled(gradient, factor));
            }
        }
    }
}

fn scaled(numbers: Numbers, factor: f32) -> Numbers {
    if factor == 1.0 {
        return numbers;
    }
    let mut numbers = own(numbers);
    let values: &mut [f32] = numbers.storage_mut();
    values.par_iter_mut().for_each(|x| *x *= factor);
    numbers
}

impl<C: CheckpointStrategy> CrossEntropy for Autodiff<Flex, C> {
    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        classifier: FloatTensor<Self>,
        targets: Targets,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let wanted = [hidden.is_tracked(), classifier.is_tracked()];
        let operation = CrossEntropyBackward
            .prepare::<C>([hidden.node(), classifier.node()])
            .compute_bound()
            .stateful();
        let hidden = hidden.into_primitive().to_contiguous();
        let classifier = classifier.into_primitive().to_contiguous();
        let found = find(&hidden, &classifier, &targets, wanted);
        let losses = <Self as AutodiffBackend>::from_inner(column(found.target_losses));
        let loss = column(vec![found.loss]);
        let loss = match operation {
            OpsKind::Tracked(operation) => {
                let of = |gradient: Option<Vec<f32>>, x: &Numbers| {
                    gradient.map(|gradient| tensor(gradient, x.shape()))
                };
                let state = [
                    of(found.of_hidden, &hidden),
                    of(found.of_classifier, &classifier),
                ];
                operation.finish(state, loss)
            }
            OpsKind::UnTracked(operation) => operation.finish(loss),
        };
        (loss, losses)
    }
}
