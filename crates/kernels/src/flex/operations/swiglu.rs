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

#[backend_extension(Flex, Autodiff)]
trait Swiglu: Backend {
    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// See [`crate::swiglu()`].
pub(crate) fn swiglu(gate_up: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Swiglu>::swiglu(gate_up.into_dispatch()))
}

fn gated(gate_up: &FlexTensor) -> FlexTensor {
    let [tokens, width] = [0, 1].map(|dimension| gate_up.layout().shape()[dimension]);
    let output = forward(as_slice(gate_up), width / 2);
    from_vec(output, Shape::new([tokens, width / 2]))
}

impl Swiglu for Flex {
    fn swiglu(gate_up: FlexTensor) -> FlexTensor {
        gated(&gate_up.to_contiguous())
    }
}

#[derive(Debug)]
struct SwigluBackward;

impl Backward<Flex, 1> for SwigluBackward {
    type State = FlexTensor;

    fn backward(
        self,
        ops: Ops<FlexTensor, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let gate_up = ops.state;
        let grad_output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Some(node) = node else { return };
        let width = grad_output.layout().shape()[1];
        let grad_gate_up = backward(as_slice(&gate_up), width, as_slice(&grad_output));
        gradients.register::<Flex>(node.id, from_vec(grad_gate_up, gate_up.shape()));
    }
}

impl<C: CheckpointStrategy> Swiglu for Autodiff<Flex, C> {
    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self> {
        let operation = SwigluBackward
            .prepare::<C>([gate_up.node()])
            .compute_bound()
            .stateful();
        let gate_up = gate_up.into_primitive().to_contiguous();
        let output = gated(&gate_up);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(gate_up, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
