//! Linear layers in Burn's graph.

use std::cell::Cell;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, BackendTensor, Dispatch, DispatchAutodiffContext,
    DispatchTensor, DispatchTensorKind, ExtensionType, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::{DType, Shape, Tensor};

use crate::flex::half_precision::{bf16_to_f32, f16_to_f32};
use crate::flex::linear::{backward, forward};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec};
use crate::linear_operands::{LinearInput, LinearWeight, Operands, WeightMatrix};
use crate::operations::nf4::dequantize_on_flex;

/// Most weights of one product. The widest of a Llama has three: query, key and value.
pub(crate) const MAX_WEIGHTS: usize = 3;

/// Input, norm and residual; weight, A and B of each weight.
const MAX_TENSORS: usize = 3 + 3 * MAX_WEIGHTS;

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

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
trait Linear: Backend {
    fn linear(#[extension_type] operands: BackendOperands<Self>) -> FloatTensor<Self>;

    fn uncomputed(
        #[extension_type] operands: BackendOperands<Self>,
        grad_output: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// See [`crate::linear()`].
pub(crate) fn linear(operands: Operands<DispatchTensor>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Linear>::linear(BackendOperands(operands)))
}

/// `sum(linear(operands) * grad_output)` for its gradients alone: its value is never computed.
pub(crate) fn uncomputed(
    operands: Operands<DispatchTensor>,
    grad_output: DispatchTensor,
) -> Tensor<1> {
    let operands = BackendOperands(operands);
    Tensor::from_dispatch(<Dispatch as Linear>::uncomputed(operands, grad_output))
}

/// The passes of a linear layer over a backend's tensors.
pub(crate) trait LinearPasses: Backend {
    /// The tensor as the passes take it, and as it is kept for the backward pass.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `[tokens, sum of out]`. There is a token and an element of each row.
    fn forward(operands: &Operands<FloatTensor<Self>>) -> FloatTensor<Self>;

    /// The gradients of those operands that are wanted, but for the residual: its gradient is that
    /// of the output. That of a normalized `x` comes with `added` to it.
    fn backward(
        operands: Operands<FloatTensor<Self>>,
        wanted: &Operands<bool>,
        grad_output: FloatTensor<Self>,
        added: Option<FloatTensor<Self>>,
    ) -> Operands<Option<FloatTensor<Self>>>;
}

/// The operands in f32. A weight in half precision or in NF4 is converted for one product, into
/// memory that the allocator gives to the next one again.
fn to_f32(operands: &Operands<FlexTensor>) -> Operands<FlexTensor> {
    let mut operands = operands.as_ref().map(&mut |tensor| match tensor.dtype() {
        DType::F32 => tensor.clone(),
        DType::BF16 => from_vec(bf16_to_f32(tensor.storage()), tensor.shape()),
        DType::F16 => from_vec(f16_to_f32(tensor.storage()), tensor.shape()),
        other => unreachable!("`linear` checked the weights' types, yet one is {other:?}"),
    });
    for LinearWeight { weight, .. } in &mut operands.weights {
        if let WeightMatrix::Nf4(codes) = weight {
            *weight = WeightMatrix::Dense(dequantize_on_flex(codes));
        }
    }
    operands
}

impl LinearPasses for Flex {
    fn contiguous(tensor: FlexTensor) -> FlexTensor {
        tensor.to_contiguous()
    }

    fn forward(operands: &Operands<FlexTensor>) -> FlexTensor {
        let tokens = operands.input.x().layout().shape()[0];
        let operands = to_f32(operands);
        let output = forward(&operands.as_ref().map(&mut as_slice), tokens);
        let width = output.len() / tokens;
        from_vec(output, Shape::new([tokens, width]))
    }

    fn backward(
        operands: Operands<FlexTensor>,
        wanted: &Operands<bool>,
        grad_output: FlexTensor,
        added: Option<FlexTensor>,
    ) -> Operands<Option<FlexTensor>> {
        let grad_output = grad_output.to_contiguous();
        let wide = to_f32(&operands);
        let found = backward(
            &wide.as_ref().map(&mut as_slice),
            wanted,
            grad_output.layout().shape()[0],
            as_slice(&grad_output),
        );
        drop((grad_output, wide));
        let mut shapes = operands
            .as_ref()
            .map(&mut |x| x.shape())
            .into_vec()
            .into_iter();
        drop(operands);
        let mut found = found.map(&mut |gradient| {
            let shape = shapes.next().expect("a shape for each operand");
            gradient.map(|gradient| from_vec(gradient, shape))
        });
        if let LinearInput::Normalized { x: Some(x), .. } = &mut found.input
            && let Some(added) = added
        {
            *x = Flex::float_add(x.clone(), added);
        }
        found
    }
}

impl<B: LinearPasses> Linear for B {
    fn linear(operands: BackendOperands<B>) -> FloatTensor<B> {
        B::forward(&operands.0.map(&mut B::contiguous))
    }

    fn uncomputed(_: BackendOperands<B>, grad_output: FloatTensor<B>) -> FloatTensor<B> {
        uncomputed_sum::<B>(&grad_output)
    }
}

/// An output that is not computed: one element, whatever it is.
fn uncomputed_sum<B: Backend>(like: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_empty(Shape::new([1]), &like.device(), like.dtype().into())
}

thread_local! {
    /// The node whose gradient the last residual was registered with. A backward pass runs on one
    /// thread.
    static RESIDUAL: Cell<Option<NodeId>> = const { Cell::new(None) };
}

#[derive(Debug)]
struct LinearBackward;

impl<B: LinearPasses> Backward<B, MAX_TENSORS> for LinearBackward {
    /// The operands, and of an output that was not computed the gradient.
    type State = (Operands<FloatTensor<B>>, Option<FloatTensor<B>>);

    fn backward(
        self,
        ops: Ops<Self::State, MAX_TENSORS>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (operands, grad_output) = ops.state;
        let mut parents = ops.parents.into_iter();
        let parents = operands
            .as_ref()
            .map(&mut |_| parents.next().expect("each tensor has a node"));
        // Where nothing was computed it is that of the sum, 1.
        let grad_node = gradients.consume::<B>(&ops.node);
        let grad_output = grad_output.unwrap_or(grad_node);
        if let Some(Some(node)) = &parents.residual {
            gradients.register::<B>(node.id, grad_output.clone());
            RESIDUAL.set(Some(node.id));
        }
        // A block's input is normalized for a first layer, and is the residual of a later one: what
        // that registered is added where the other gradient is written, not by a pass of its own.
        // A leaf keeps its gradient until the end, so that it would be added twice.
        let added = match &parents.input {
            LinearInput::Normalized { x: Some(x), .. }
                if RESIDUAL.get() == Some(x.id) && !x.parents.is_empty() =>
            {
                RESIDUAL.set(None);
                Some(gradients.consume::<B>(x))
            }
            _ => None,
        };
        let wanted = parents.as_ref().map(&mut |node| node.is_some());
        let found = B::backward(operands, &wanted, grad_output, added).into_vec();
        for (gradient, node) in found.into_iter().zip(parents.into_vec()) {
            if let (Some(gradient), Some(node)) = (gradient, node) {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

/// Records the operation that `output` computes, or whose output's gradient is given.
fn record<B: LinearPasses, C: CheckpointStrategy>(
    operands: BackendOperands<Autodiff<B, C>>,
    grad_output: Option<FloatTensor<B>>,
    output: impl FnOnce(&Operands<FloatTensor<B>>) -> FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let mut nodes = Vec::with_capacity(MAX_TENSORS);
    let operands = operands.0.map(&mut |tensor| {
        nodes.push(tensor.node());
        B::contiguous(tensor.into_primitive())
    });
    // The graph wants a fixed number of parents: constants stand for the tensors that are not
    // there.
    let constant = operands.input.x().clone();
    let constant = || <Autodiff<B, C> as AutodiffBackend>::from_inner(constant.clone()).node();
    nodes.resize_with(MAX_TENSORS, constant);
    let nodes = nodes.try_into().expect("resized to fit");
    let operation = LinearBackward
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful();
    let output = output(&operands);
    match operation {
        OpsKind::Tracked(operation) => operation.finish((operands, grad_output), output),
        OpsKind::UnTracked(operation) => operation.finish(output),
    }
}

impl<B: LinearPasses, C: CheckpointStrategy> Linear for Autodiff<B, C> {
    fn linear(operands: BackendOperands<Self>) -> FloatTensor<Self> {
        record(operands, None, B::forward)
    }

    fn uncomputed(
        operands: BackendOperands<Self>,
        grad_output: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let grad_output = grad_output.into_primitive();
        let sum = uncomputed_sum::<B>(&grad_output);
        record(operands, Some(grad_output), |_| sum)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::linear_operands::LinearOperands;

    /// Whether the norm's gradient came with the residual's.
    fn is_added_with_the_norms(is_leaf: bool) -> bool {
        let device = Device::flex().autodiff();
        let leaf = Tensor::<2>::ones([3, 4], &device).require_grad();
        let x = match is_leaf {
            true => leaf.clone(),
            false => leaf.clone().mul_scalar(2.0),
        };
        let weight = || Tensor::<2>::ones([4, 4], &device);
        let mut first = LinearOperands::plain(x.clone(), weight());
        first.input = LinearInput::Normalized {
            x: x.clone(),
            weight: Tensor::ones([4], &device),
            epsilon: 1e-5,
        };
        let mut last = LinearOperands::plain(crate::linear(first), weight());
        last.residual = Some(x);
        crate::linear(last).sum().backward();
        RESIDUAL.take().is_none()
    }

    #[test]
    fn a_residuals_gradient_is_added_with_the_norms_but_for_a_leaf() {
        assert!(is_added_with_the_norms(false));
        assert!(!is_added_with_the_norms(true));
    }
}
