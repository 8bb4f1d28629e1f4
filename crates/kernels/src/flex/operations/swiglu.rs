//! SwiGLU in Burn's graph.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::{Numbers, slice, tensor};
use crate::flex::buffer::buffer;
use crate::flex::swiglu::{backward, forward};

#[backend_extension(Flex, Autodiff)]
trait Swiglu: Backend {
    fn swiglu(joined: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// See [`crate::swiglu()`].
pub(crate) fn swiglu(joined: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Swiglu>::swiglu(joined.into_dispatch()))
}

fn gated(joined: &Numbers) -> Numbers {
    let [tokens, width] = [0, 1].map(|dimension| joined.layout().shape()[dimension]);
    let mut output = buffer(tokens * width / 2);
    forward(slice(joined), width / 2, &mut output);
    tensor(output, Shape::new([tokens, width / 2]))
}

impl Swiglu for Flex {
    fn swiglu(joined: Numbers) -> Numbers {
        gated(&joined.to_contiguous())
    }
}

#[derive(Debug)]
struct SwigluBackward;

impl Backward<Flex, 1> for SwigluBackward {
    type State = Numbers;

    fn backward(
        self,
        ops: Ops<Numbers, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let joined = ops.state;
        let upper = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Some(node) = node else { return };
        let mut gradient = buffer(slice(&joined).len());
        let width = upper.layout().shape()[1];
        backward(slice(&joined), width, slice(&upper), &mut gradient);
        gradients.register::<Flex>(node.id, tensor(gradient, joined.shape()));
    }
}

impl<C: CheckpointStrategy> Swiglu for Autodiff<Flex, C> {
    fn swiglu(joined: FloatTensor<Self>) -> FloatTensor<Self> {
        let operation = SwigluBackward
            .prepare::<C>([joined.node()])
            .compute_bound()
            .stateful();
        let joined = joined.into_primitive().to_contiguous();
        let output = gated(&joined);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(joined, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
