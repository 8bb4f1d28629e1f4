//! RMSNorm in Burn's graph.

use std::fmt::Debug;
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

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
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

/// The passes of RMSNorm over a backend's tensors, which need not be contiguous.
pub(crate) trait RmsNormPasses: Backend {
    /// What the backward pass needs.
    type Saved: Clone + Debug + Send + 'static;

    /// The output, and what the backward pass needs.
    fn forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, Self::Saved);

    /// The gradients of `x` and, where it is wanted, of the weight.
    fn backward(
        saved: Self::Saved,
        grad_output: FloatTensor<Self>,
        wants_weight: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

/// Input and weight, contiguous, and each row's scale.
type FlexSaved = (FlexTensor, FlexTensor, Arc<[f32]>);

impl RmsNormPasses for Flex {
    type Saved = FlexSaved;

    fn forward(x: FlexTensor, weight: FlexTensor, epsilon: f64) -> (FlexTensor, FlexSaved) {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let (output, scales) = forward(as_slice(&x), as_slice(&weight), epsilon as f32);
        let output = from_vec(output, x.shape());
        (output, (x, weight, scales.into()))
    }

    fn backward(
        (x, weight, scales): FlexSaved,
        grad_output: FlexTensor,
        wants_weight: bool,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let grad_output = grad_output.to_contiguous();
        let (grad_x, grad_weight) = backward(
            as_slice(&x),
            as_slice(&weight),
            &scales,
            as_slice(&grad_output),
        );
        (
            from_vec(grad_x, x.shape()),
            wants_weight.then(|| from_vec(grad_weight, weight.shape())),
        )
    }
}

impl<B: RmsNormPasses> RmsNorm for B {
    fn rms_norm(x: FloatTensor<B>, weight: FloatTensor<B>, epsilon: f64) -> FloatTensor<B> {
        B::forward(x, weight, epsilon).0
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl<B: RmsNormPasses> Backward<B, 2> for RmsNormBackward {
    type State = B::Saved;

    fn backward(
        self,
        ops: Ops<B::Saved, 2>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad_output = gradients.consume::<B>(&ops.node);
        let [x, weight] = ops.parents;
        let (grad_x, grad_weight) = B::backward(ops.state, grad_output, weight.is_some());
        for (node, gradient) in [(x, Some(grad_x)), (weight, grad_weight)] {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: RmsNormPasses, C: CheckpointStrategy> RmsNorm for Autodiff<B, C> {
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let operation = RmsNormBackward
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        let (output, saved) = B::forward(x.into_primitive(), weight.into_primitive(), epsilon);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(saved, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
