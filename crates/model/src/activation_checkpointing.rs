//! Activation checkpointing by layer (Chen et al. 2016, arXiv 1604.06174): the forward pass keeps each layer's input, and the
//! backward pass computes the layer again from it.

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use plw_batch::Batch;

use crate::dropout::DropoutKey;
use crate::llama::{Llama, Pass};
use crate::parameters::{NamedTensors, accumulate};

/// A forward pass that has kept no more than the layers' inputs, `[tokens, hidden]` each.
///
/// Its gradients are those of [`Llama::forward`] to the last bit, for the time of one more forward pass.
pub struct CheckpointedForward<'a> {
    model: &'a Llama,
    pass: Pass<'a>,
    /// With the graph of the embeddings.
    embedded: Tensor<2>,
    /// Without a graph: the input of each layer but the first.
    inputs: Vec<Tensor<2>>,
    /// A leaf: the last layer's output.
    last: Tensor<2>,
}

impl Llama {
    /// As [`Llama::forward`], on an autodiff device, but for [`CheckpointedForward::hidden`] and
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
            let pass = plain.pass(batch, rows, dropout);
            for number in 0..self.config().num_hidden_layers() {
                if number > 0 {
                    inputs.push(hidden.clone());
                }
                hidden = plain.layer(number, hidden, &pass);
            }
        }
        CheckpointedForward {
            model: self,
            pass: self.pass(batch, rows, dropout),
            embedded,
            inputs,
            last: hidden.autodiff().require_grad(),
        }
    }
}

impl CheckpointedForward<'_> {
    /// Hidden states after the final norm, `[rows, hidden]`, from which a loss is to be computed.
    pub fn hidden(&self) -> Tensor<2> {
        self.model.normalise(self.last.clone())
    }

    /// The trainable parameters' gradients, out of what that loss's `backward()` returned: of what comes after the layers
    /// as it is there, of the layers by computing each again.
    pub fn gradients(self, mut of_loss: Gradients) -> NamedTensors {
        let Self {
            model,
            pass,
            embedded,
            mut inputs,
            last,
        } = self;
        let mut gradients = NamedTensors::new();
        let mut upper = last.grad_remove(&mut of_loss);
        accumulate(&mut gradients, model.take_gradients(&mut of_loss));
        drop(of_loss);
        for number in (0..model.config().num_hidden_layers()).rev() {
            // Where no row weighs anything, or nothing below is trained, there is no gradient to hand on.
            let Some(above) = upper else { return gradients };
            let input = match number {
                0 => embedded.clone(),
                _ => inputs
                    .pop()
                    .expect("each layer but the first left its input")
                    .autodiff()
                    .require_grad(),
            };
            let output = model.layer(number, input.clone(), &pass);
            let mut of_layer = backward(output, above);
            upper = match number {
                0 => None,
                _ => input.grad_remove(&mut of_layer),
            };
            accumulate(&mut gradients, model.take_gradients(&mut of_layer));
        }
        gradients
    }
}

/// The backward pass from a gradient of `output`: that of the sum of their products, whose own gradient is this one.
fn backward(output: Tensor<2>, gradient: Tensor<2>) -> Gradients {
    (output * gradient.autodiff()).sum().backward()
}
