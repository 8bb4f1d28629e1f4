//! Attention in Burn's graph.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use crate::attention_mask::AttentionMask;
use crate::flex::attention::{self, Attended, backward, forward};
use crate::flex::rope::{Direction, rotate};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec, into_unique};
use crate::rotary_embedding::RotaryEmbedding;

/// What an attention needs besides its tensor.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) shape: attention::Shape,
    pub(crate) mask: AttentionMask,
    pub(crate) rotary: RotaryEmbedding,
}

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
trait Attention: Backend {
    fn attention(qkv: FloatTensor<Self>, context: Context) -> FloatTensor<Self>;
}

/// See [`crate::attention()`].
pub(crate) fn attention(qkv: Tensor<2>, context: Context) -> Tensor<2> {
    let output = <Dispatch as Attention>::attention(qkv.into_dispatch(), context);
    Tensor::from_dispatch(output)
}

/// The passes of attention over a backend's tensors.
pub(crate) trait AttentionPasses: Backend {
    /// What the backward pass needs.
    type Saved: Clone + Debug + Send + 'static;

    /// The output `[tokens, heads * head_dim]`, and what the backward pass needs. `qkv` is
    /// `[tokens, width]`, not yet rotated.
    fn forward(qkv: FloatTensor<Self>, context: Context) -> (FloatTensor<Self>, Self::Saved);

    /// The gradient of `qkv`.
    fn backward(saved: Self::Saved, grad_output: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
pub(crate) struct FlexSaved {
    /// `[tokens, width]`, queries and keys rotated.
    qkv: FlexTensor,
    output: FlexTensor,
    log_sum_exp: Arc<[f32]>,
    context: Context,
}

/// Rotates queries and keys.
fn rotate_heads(context: &Context, qkv: &mut [f32], direction: Direction) {
    let Context { shape, rotary, .. } = context;
    let heads = shape.heads + shape.key_value_heads;
    let (cosines, sines) = (&rotary.cosines, &rotary.sines);
    rotate(qkv, shape.width(), heads, cosines, sines, direction);
}

impl AttentionPasses for Flex {
    type Saved = FlexSaved;

    fn forward(qkv: FlexTensor, context: Context) -> (FlexTensor, FlexSaved) {
        let shape = &context.shape;
        let mut qkv = into_unique(qkv);
        rotate_heads(&context, qkv.storage_mut(), Direction::Forward);
        let until = &context.mask.visible_until;
        let (output, log_sum_exp) = forward(shape, as_slice(&qkv), until);
        let output = from_vec(output, Shape::new([shape.tokens(), shape.output_width()]));
        let saved = FlexSaved {
            qkv,
            output: output.clone(),
            log_sum_exp: log_sum_exp.into(),
            context,
        };
        (output, saved)
    }

    fn backward(saved: FlexSaved, grad_output: FlexTensor) -> FlexTensor {
        let FlexSaved {
            qkv,
            output,
            log_sum_exp,
            context,
        } = saved;
        let grad_output = grad_output.to_contiguous();
        let attended = Attended {
            qkv: as_slice(&qkv),
            output: as_slice(&output),
            log_sum_exp: &log_sum_exp,
        };
        let mut grad_qkv = backward(
            &context.shape,
            &attended,
            &context.mask.visible_until,
            as_slice(&grad_output),
        );
        rotate_heads(&context, &mut grad_qkv, Direction::Inverse);
        from_vec(grad_qkv, qkv.shape())
    }
}

impl<B: AttentionPasses> Attention for B {
    fn attention(qkv: FloatTensor<B>, context: Context) -> FloatTensor<B> {
        B::forward(qkv, context).0
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl<B: AttentionPasses> Backward<B, 1> for AttentionBackward {
    type State = B::Saved;

    fn backward(
        self,
        ops: Ops<B::Saved, 1>,
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

impl<B: AttentionPasses, C: CheckpointStrategy> Attention for Autodiff<B, C> {
    fn attention(qkv: FloatTensor<Self>, context: Context) -> FloatTensor<Self> {
        let operation = AttentionBackward
            .prepare::<C>([qkv.node()])
            .compute_bound()
            .stateful();
        let (output, saved) = B::forward(qkv.into_primitive(), context);
        match operation {
            OpsKind::Tracked(operation) => operation.finish(saved, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
