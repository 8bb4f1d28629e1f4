//! Attention in Burn's graph.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::{Numbers, own, slice, tensor};
use crate::flex::attention::{self, backward, forward};
use crate::flex::buffer::buffer;
use crate::flex::rope::{Turn, rotate};

/// What an attention needs besides its tensor.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) shape: attention::Shape,
    /// `[batch * seq]`.
    pub(crate) visible_until: Arc<[u32]>,
    /// `[batch * seq, head_dim / 2]`.
    pub(crate) cosines: Arc<[f32]>,
    /// `[batch * seq, head_dim / 2]`.
    pub(crate) sines: Arc<[f32]>,
}

impl Pattern {
    /// Turns queries and keys.
    fn rotate(&self, joined: &mut [f32], turn: Turn) {
        let heads = self.shape.heads + self.shape.key_value_heads;
        let width = self.shape.width();
        rotate(joined, width, heads, &self.cosines, &self.sines, turn);
    }
}

#[backend_extension(Flex, Autodiff)]
trait Attention: Backend {
    fn attention(joined: FloatTensor<Self>, pattern: Pattern) -> FloatTensor<Self>;
}

/// See [`crate::attention()`].
pub(crate) fn attention(joined: Tensor<2>, pattern: Pattern) -> Tensor<2> {
    let output = <Dispatch as Attention>::attention(joined.into_dispatch(), pattern);
    Tensor::from_dispatch(output)
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Attended {
    /// `[tokens, width]`, queries and keys rotated.
    joined: Numbers,
    output: Numbers,
    log_sum_exp: Arc<[f32]>,
    pattern: Pattern,
}

fn attend(joined: Numbers, pattern: Pattern) -> Attended {
    let shape = &pattern.shape;
    let tokens = shape.batch * shape.seq;
    let mut joined = own(joined);
    pattern.rotate(joined.storage_mut(), Turn::Forward);
    let mut output = buffer(tokens * shape.output_width());
    let mut log_sum_exp = buffer(tokens * shape.heads);
    forward(
        shape,
        slice(&joined),
        &pattern.visible_until,
        &mut output,
        &mut log_sum_exp,
    );
    Attended {
        joined,
        output: tensor(output, Shape::new([tokens, shape.output_width()])),
        log_sum_exp: log_sum_exp.into(),
        pattern,
    }
}

impl Attention for Flex {
    fn attention(joined: Numbers, pattern: Pattern) -> Numbers {
        attend(joined, pattern).output
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 1> for AttentionBackward {
    type State = Attended;

    fn backward(
        self,
        ops: Ops<Attended, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let Attended {
            joined,
            output,
            log_sum_exp,
            pattern,
        } = ops.state;
        let upper = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Some(node) = node else { return };
        let mut gradient = buffer(slice(&joined).len());
        backward(
            &pattern.shape,
            slice(&joined),
            &pattern.visible_until,
            slice(&output),
            &log_sum_exp,
            slice(&upper),
            &mut gradient,
        );
        pattern.rotate(&mut gradient, Turn::Back);
        gradients.register::<Flex>(node.id, tensor(gradient, joined.shape()));
    }
}

impl<C: CheckpointStrategy> Attention for Autodiff<Flex, C> {
    fn attention(joined: FloatTensor<Self>, pattern: Pattern) -> FloatTensor<Self> {
        let operation = AttentionBackward
            .prepare::<C>([joined.node()])
            .compute_bound()
            .stateful();
        let attended = attend(joined.into_primitive(), pattern);
        let output = attended.output.clone();
        match operation {
            OpsKind::Tracked(operation) => operation.finish(attended, output),
            OpsKind::UnTracked(operation) => operation.finish(output),
        }
    }
}
