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

use super::{Numbers, slice, tensor};
use crate::flex::half_precision::{widen_bf16, widen_f16};
use crate::flex::linear::{backward, forward};
use crate::flex::operands::{Operands, Preparation};

/// Factors of a product: a Llama's widest has three, query, key and value.
pub(crate) const MOST_FACTORS: usize = 3;

/// Input, norm and residual; weight, A, B and mask of each factor.
const MOST_TENSORS: usize = 3 + 4 * MOST_FACTORS;

struct LinearOperands<B: Backend>(Operands<FloatTensor<B>>);

impl<B: Backend> ExtensionType<B> for LinearOperands<B> {
    type Target = LinearOperands<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Self::Target
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        LinearOperands(self.0.map(&mut |tensor| DispatchTensor {
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
        Some(&target.0.input)
    }

    fn routing_float_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        Some(&target.0.input)
    }

    fn autodiff_context(target: &Self::Target) -> DispatchAutodiffContext {
        let tensors = target.0.as_ref().into_tensors().into_iter();
        tensors.fold(DispatchAutodiffContext::Disabled, |context, tensor| {
            context.merge(tensor.autodiff)
        })
    }
}

#[backend_extension(Flex, Autodiff)]
trait Linear: Backend {
    fn linear(
        #[extension_type] operands: LinearOperands<Self>,
        preparation: Preparation,
    ) -> FloatTensor<Self>;
}

/// See [`crate::linear()`].
pub(crate) fn linear(operands: Operands<DispatchTensor>, preparation: Preparation) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Linear>::linear(
        LinearOperands(operands),
        preparation,
    ))
}

/// In f32: a weight in half precision is widened for one product, into room that the next one uses again.
fn widened(operands: &Operands<Numbers>) -> Operands<Numbers> {
    operands.as_ref().map(&mut |numbers| match numbers.dtype() {
        DType::F32 => numbers.clone(),
        DType::BF16 => tensor(widen_bf16(numbers.storage()), numbers.shape()),
        DType::F16 => tensor(widen_f16(numbers.storage()), numbers.shape()),
        other => unreachable!("{other:?} was not asked for"),
    })
}

fn product(operands: &Operands<Numbers>, preparation: Preparation) -> Numbers {
    let tokens = operands.input.layout().shape()[0];
    let operands = widened(operands);
    let output = forward(&operands.as_ref().map(&mut slice), preparation, tokens);
    let width = output.len() / tokens;
    tensor(output, Shape::new([tokens, width]))
}

impl Linear for Flex {
    fn linear(operands: LinearOperands<Self>, preparation: Preparation) -> Numbers {
        let operands = operands.0.map(&mut |numbers| numbers.to_contiguous());
        product(&operands, preparation)
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, MOST_TENSORS> for LinearBackward {
    type State = (Operands<Numbers>, Preparation);

    fn backward(
        self,
        ops: Ops<Self::State, MOST_TENSORS>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (operands, preparation) = ops.state;
        let mut parents = ops.parents.into_iter();
        let parents = operands
            .as_ref()
            .map(&mut |_| parents.next().expect("a node a tensor"));
        let upper = gradients.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(Some(node)) = &parents.residual {
            gradients.register::<Flex>(node.id, upper.clone());
        }
        let wide = widened(&operands);
        let found = backward(
            &wide.as_ref().map(&mut slice),
            &parents.as_ref().map(&mut |node| node.is_some()),
            preparation,
            upper.layout().shape()[0],
            slice(&upper),
        );
        drop((upper, wide));
        let shapes = operands.as_ref().map(&mut |x| x.shape()).into_tensors();
        drop(operands);
        let found = found.into_tensors().into_iter().zip(shapes);
        for ((gradient, shape), node) in found.zip(parents.into_tensors()) {
            if let (Some(gradient), Some(node)) = (gradient, node) {
                gradients.register::<Flex>(node.id, tensor(gradient, shape));
            }
        }
    }
}

impl<C: CheckpointStrategy> Linear for Autodiff<Flex, C> {
    fn linear(operands: LinearOperands<Self>, preparation: Preparation) -> FloatTensor<Self> {
        // The graph wants a fixed number of parents: constants fill the places of tensors that are not there.
        let constant = || {
            let nothing = Numbers::empty(Shape::new([0]), DType::F32);
            <Self as AutodiffBackend>::from_inner(nothing).node()
        };
        let mut nodes = Vec::with_capacity(MOST_TENSORS);
        let operands = operands.0.map(&mut |tensor| {
            nodes.push(tensor.node());
            tensor.into_primitive().to_contiguous()
        });
        nodes.resize_with(MOST_TENSORS, constant);
        let nodes = nodes.try_into().expect("resized to fit");
        let operation = LinearBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful();
        let output = product(&operands, preparation);
        match operation {
            OpsKind::Tracked(operation) => operation.finish((operands, preparation), output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
