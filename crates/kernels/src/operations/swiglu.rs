//! SwiGLU in Burn's graph.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use crate::flex::swiglu::{backward, forward};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec};

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
trait Swiglu: Backend {
    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// See [`crate::swiglu()`].
pub(crate) fn swiglu(gate_up: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Swiglu>::swiglu(gate_up.into_dispatch()))
}

/// The passes of SwiGLU over a backend's tensors, which need not be contiguous.
pub(crate) trait SwigluPasses: Backend {
    /// The output, `[tokens, width]`, of `[tokens, 2 * width]`.
    fn forward(gate_up: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of `gate_up`.
    fn backward(gate_up: FloatTensor<Self>, grad_output: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl SwigluPasses for Flex {
    fn forward(gate_up: FlexTensor) -> FlexTensor {
        let gate_up = gate_up.to_contiguous();
        let [tokens, width] = [0, 1].map(|dimension| gate_up.layout().shape()[dimension]);
        let output = forward(as_slice(&gate_up), width / 2);
        from_vec(output, Shape::new([tokens, width / 2]))
    }

    fn backward(gate_up: FlexTensor, grad_output: FlexTensor) -> FlexTensor {
        let (gate_up, grad_output) = (gate_up.to_contiguous(), grad_output.to_contiguous());
        let width = grad_output.layout().shape()[1];
        let grad_gate_up = backward(as_slice(&gate_up), width, as_slice(&grad_output));
        from_vec(grad_gate_up, gate_up.shape())
    }
}

impl<B: SwigluPasses> Swiglu for B {
    fn swiglu(gate_up: FloatTensor<B>) -> FloatTensor<B> {
        B::forward(gate_up)
    }
}

#[derive(Debug)]
struct SwigluBackward;

impl<B: SwigluPasses> Backward<B, 1> for SwigluBackward {
    type State = FloatTensor<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let grad_output = gradients.consume::<B>(&ops.node);
        if let Some(node) = node {
            gradients.register::<B>(node.id, B::backward(ops.state, grad_output));
        }
    }
}

impl<B: SwigluPasses, C: CheckpointStrategy> Swiglu for Autodiff<B, C> {
    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self> {
        let operation = SwigluBackward
            .prepare::<C>([gate_up.node()])
            .compute_bound()
            .stateful();
        let gate_up = gate_up.into_primitive();
        let output = B::forward(gate_up.clone());
        match operation {
            OpsKind::Tracked(operation) => operation.finish(gate_up, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
