//! Attention in Burn's graph.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use crate::flex::attention::{self, Attended, backward, forward};
use crate::flex::rope::{Direction, rotate};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec, into_unique};

/// What an attention needs besides its tensor.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) shape: attention::Shape,
    /// `[batch * seq]`.
    pub(crate) visible_until: Arc<[u32]>,
    /// `[batch * seq, head_dim / 2]`.
    pub(crate) cosines: Arc<[f32]>,
    /// `[batch * seq, head_dim / 2]`.
    pub(crate) sines: Arc<[f32]>,
}

impl Context {
    /// Rotates queries and keys.
    fn rotate(&self, qkv: &mut [f32], direction: Direction) {
        let heads = self.shape.heads + self.shape.key_value_heads;
        let width = self.shape.width();
        rotate(qkv, width, heads, &self.cosines, &self.sines, direction);
    }
}

#[backend_extension(Flex, Autodiff)]
trait Attention: Backend {
    fn attention(qkv: FloatTensor<Self>, context: Context) -> FloatTensor<Self>;
}

/// See [`crate::attention()`].
pub(crate) fn attention(qkv: Tensor<2>, context: Context) -> Tensor<2> {
    let output = <Dispatch as Attention>::attention(qkv.into_dispatch(), context);
    Tensor::from_dispatch(output)
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Saved {
    /// `[tokens, width]`, queries and keys rotated.
    qkv: FlexTensor,
    output: FlexTensor,
    log_sum_exp: Arc<[f32]>,
    context: Context,
}

fn attend(qkv: FlexTensor, context: Context) -> Saved {
    let shape = &context.shape;
    let mut qkv = into_unique(qkv);
    context.rotate(qkv.storage_mut(), Direction::Forward);
    let (output, log_sum_exp) = forward(shape, as_slice(&qkv), &context.visible_until);
    Saved {
        qkv,
        output: from_vec(output, Shape::new([shape.tokens(), shape.output_width()])),
        log_sum_exp: log_sum_exp.into(),
        context,
    }
}

impl Attention for Flex {
    fn attention(qkv: FlexTensor, context: Context) -> FlexTensor {
        attend(qkv, context).output
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 1> for AttentionBackward {
    type State = Saved;

    fn backward(
        self,
        ops: Ops<Saved, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let Saved {
            qkv,
            output,
            log_sum_exp,
            context,
        } = ops.state;
        let grad_output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Some(node) = node else { return };
        let attended = Attended {
            qkv: as_slice(&qkv),
            output: as_slice(&output),
            log_sum_exp: &log_sum_exp,
        };
        let mut grad_qkv = backward(
            &context.shape,
            &attended,
            &context.visible_until,
            as_slice(&grad_output),
        );
        context.rotate(&mut grad_qkv, Direction::Inverse);
        gradients.register::<Flex>(node.id, from_vec(grad_qkv, qkv.shape()));
    }
}

impl<C: CheckpointStrategy> Attention for Autodiff<Flex, C> {
    fn attention(qkv: FloatTensor<Self>, context: Context) -> FloatTensor<Self> {
        let operation = AttentionBackward
            .prepare::<C>([qkv.node()])
            .compute_bound()
            .stateful();
        let saved = attend(qkv.into_primitive(), context);
        let output = saved.output.clone();
        match operation {
            OpsKind::Tracked(operation) => operation.finish(saved, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
