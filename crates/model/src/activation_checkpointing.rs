//! Activation checkpointing by layer (Chen et al. 2016, arXiv 1604.06174): the forward pass keeps
//! only each layer's input, and the backward pass computes the layer again from it, up to its last
//! product, whose output no gradient needs.

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use plw_batch::Batch;
use plw_kernels::linear_gradients;

use crate::dropout::DropoutKey;
use crate::llama::{ForwardContext, Llama};
use crate::parameters::{NamedTensors, accumulate};

/// A forward pass that keeps only the layers' inputs, `[tokens, hidden]` each.
///
/// Its gradients have the same bits as those of [`Llama::forward`]. It costs one more forward pass
/// without the MLPs' last products.
pub struct CheckpointedForward<'a> {
    model: &'a Llama,
    context: ForwardContext<'a>,
    /// The embeddings, with their graph.
    embedded: Tensor<2>,
    /// The input of each layer but the first, without a graph.
    inputs: Vec<Tensor<2>>,
    /// The last layer's output, as a leaf.
    last: Tensor<2>,
}

impl Llama {
    /// [`Llama::forward`] with activation checkpointing, on an autodiff device. Compute the loss
    /// from [`CheckpointedForward::hidden`] and take the gradients with
    /// [`CheckpointedForward::gradients`].
    pub fn forward_checkpointed<'a>(
        &'a self,
        batch: &Batch,
        rows: &'a [u32],
        dropout: Option<&DropoutKey>,
    ) -> CheckpointedForward<'a> {
        let plain = self.valid();
        let embedded = self.embed(&batch.token_ids);
        let mut inputs = Vec::with_capacity(self.config().num_hidden_layers());
        let mut hidden = embedded.clone().inner();
        {
            let context = plain.context(batch, rows, dropout);
            for number in 0..self.config().num_hidden_layers() {
                if number > 0 {
                    inputs.push(hidden.clone());
                }
                hidden = plain.layer(number, hidden, &context);
            }
        }
        CheckpointedForward {
            model: self,
            context: self.context(batch, rows, dropout),
            embedded,
            inputs,
            last: hidden.autodiff().require_grad(),
        }
    }
}

impl CheckpointedForward<'_> {
    /// The hidden states `[rows, hidden]` after the final norm, for the loss.
    pub fn hidden(&self) -> Tensor<2> {
        self.model.normalize(self.last.clone())
    }

    /// The gradients of the trainable parameters, from what the loss's `backward()` returned. Each
    /// layer is computed again for its gradients.
    pub fn gradients(self, loss_gradients: Gradients) -> NamedTensors {
        self.gradients_by_layer(loss_gradients, |_| ())
    }

    /// [`CheckpointedForward::gradients`], calling `found` with what there is once the gradients
    /// above the last layer are there, and after each layer from the last to the first. What
    /// `found` takes out is not in the result. Of a tied embedding table, only what is there after
    /// the first layer is all.
    pub fn gradients_by_layer(
        self,
        mut loss_gradients: Gradients,
        mut found: impl FnMut(&mut NamedTensors),
    ) -> NamedTensors {
        let Self {
            model,
            context,
            embedded,
            mut inputs,
            last,
        } = self;
        let mut gradients = NamedTensors::new();
        let mut grad_output = last.grad_remove(&mut loss_gradients);
        accumulate(&mut gradients, model.take_gradients(&mut loss_gradients));
        drop(loss_gradients);
        found(&mut gradients);
        for number in (0..model.config().num_hidden_layers()).rev() {
            // There is no gradient where no row has a weight, or nothing below is trained.
            let Some(grad) = grad_output else {
                return gradients;
            };
            let input = match number {
                0 => embedded.clone(),
                _ => inputs
                    .pop()
                    .expect("the forward pass kept the input of each layer but the first")
                    .autodiff()
                    .require_grad(),
            };
            // The layer's gradients are added as without checkpointing where its input is no leaf.
            let no_leaf = input.clone().reshape(input.dims());
            let last = model.last_linear(number, no_leaf, &context);
            let mut layer_gradients = linear_gradients(last, grad);
            grad_output = match number {
                0 => None,
                _ => input.grad_remove(&mut layer_gradients),
            };
            accumulate(&mut gradients, model.take_gradients(&mut layer_gradients));
            found(&mut gradients);
        }
        gradients
    }
}
