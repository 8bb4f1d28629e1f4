//! Linear layers in Burn's graph.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, BackendTensor, Dispatch, DispatchAutodiffContext,
    DispatchTensor, DispatchTensorKind, ExtensionType, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::{DType, Shape, Tensor};

use crate::flex::half_precision::{bf16_to_f32, f16_to_f32};
use crate::flex::linear::{backward, forward};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec};
use crate::linear_operands::Operands;

/// Most weights of one product. The widest of a Llama has three: query, key and value.
pub(crate) const MAX_WEIGHTS: usize = 3;

/// Input, norm and residual; weight, A, B and mask of each weight.
const MAX_TENSORS: usize = 3 + 4 * MAX_WEIGHTS;

/// The operands as an argument of a backend's operation.
struct BackendOperands<B: Backend>(Operands<FloatTensor<B>>);

impl<B: Backend> ExtensionType<B> for BackendOperands<B> {
    type Target = BackendOperands<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Self::Target
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        BackendOperands(self.0.map(&mut |tensor| DispatchTensor {
            kind: map_kind(BackendTensor::Float(tensor)),
            autodiff,
        }))
    }

    fn map_from_dispatch<F>(target: Self::Target, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        Self(target.0.map(&mut |tensor| unwrap_kind(tensor).float()))
    }

    fn routing_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        Some(target.0.input.x())
    }

    fn routing_float_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        Some(target.0.input.x())
    }

    fn autodiff_context(target: &Self::Target) -> DispatchAutodiffContext {
        let tensors = target.0.as_ref().into_vec().into_iter();
        tensors.fold(DispatchAutodiffContext::Disabled, |context, tensor| {
            context.merge(tensor.autodiff)
        })
    }
}

#[backend_extension(Flex, Autodiff)]
trait Linear: Backend {
    fn linear(#[extension_type] operands: BackendOperands<Self>) -> FloatTensor<Self>;
}

/// See [`crate::linear()`].
pub(crate) fn linear(operands: Operands<DispatchTensor>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Linear>::linear(BackendOperands(operands)))
}

/// The operands in f32. A weight in half precision is converted for one product, into memory that
/// the allocator gives to the next one again.
fn to_f32(operands: &Operands<FlexTensor>) -> Operands<FlexTensor> {
    operands.as_ref().map(&mut |tensor| match tensor.dtype() {
        DType::F32 => tensor.clone(),
        DType::BF16 => from_vec(bf16_to_f32(tensor.storage()), tensor.shape()),
        DType::F16 => from_vec(f16_to_f32(tensor.storage()), tensor.shape()),
        other => unreachable!("`linear` checked the weights' types, yet one is {other:?}"),
    })
}

fn product(operands: &Operands<FlexTensor>) -> FlexTensor {
    let tokens = operands.input.x().layout().shape()[0];
    let operands = to_f32(operands);
    let output = forward(&operands.as_ref().map(&mut as_slice), tokens);
    let width = output.len() / tokens;
    from_vec(output, Shape::new([tokens, width]))
}

impl Linear for Flex {
    fn linear(operands: BackendOperands<Self>) -> FlexTensor {
        product(&operands.0.map(&mut |tensor| tensor.to_contiguous()))
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, MAX_TENSORS> for LinearBackward {
    type State = Operands<FlexTensor>;

    fn backward(
        self,
        ops: Ops<Self::State, MAX_TENSORS>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let operands = ops.state;
        let mut parents = ops.parents.into_iter();
        let parents = operands
            .as_ref()
            .map(&mut |_| parents.next().expect("each tensor has a node"));
        let grad_output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(Some(node)) = &parents.residual {
            gradients.register::<Flex>(node.id, grad_output.clone());
        }
        let wide = to_f32(&operands);
        let found = backward(
            &wide.as_ref().map(&mut as_slice),
            &parents.as_ref().map(&mut |node| node.is_some()),
            grad_output.layout().shape()[0],
            as_slice(&grad_output),
        );
        drop((grad_output, wide));
        let shapes = operands.as_ref().map(&mut |x| x.shape()).into_vec();
        drop(operands);
        let found = found.into_vec().into_iter().zip(shapes);
        for ((gradient, shape), node) in found.zip(parents.into_vec()) {
            if let (Some(gradient), Some(node)) = (gradient, node) {
                gradients.register::<Flex>(node.id, from_vec(gradient, shape));
            }
        }
    }
}

impl<C: CheckpointStrategy> Linear for Autodiff<Flex, C> {
    fn linear(operands: BackendOperands<Self>) -> FloatTensor<Self> {
        // The graph wants a fixed number of parents: constants stand for the tensors that are not
        // there.
        let constant = || {
            let empty = FlexTensor::empty(Shape::new([0]), DType::F32);
            <Self as AutodiffBackend>::from_inner(empty).node()
        };
        let mut nodes = Vec::with_capacity(MAX_TENSORS);
        let operands = operands.0.map(&mut |tensor| {
            nodes.push(tensor.node());
            tensor.into_primitive().to_contiguous()
        });
        nodes.resize_with(MAX_TENSORS, constant);
        let nodes = nodes.try_into().expect("resized to fit");
        let operation = LinearBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful();
        let output = product(&operands);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(operands, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
