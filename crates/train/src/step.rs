//! One optimizer step: micro-batches, loss, gradients, clipping, AdamW.

use plw_batch::{
    Batch, CrossDocumentAttention, Sequence, concatenate, lay_out_packs, share_prefixes,
};
use plw_kernels::clip_factor;
use plw_loss::{
    DEFAULT_CHUNK, LossTotals, MeanLosses, Normalization, Normalizer, TokenWeights,
    WeightedTargets, linear_cross_entropy,
};
use plw_model::{DropoutKey, Llama, NamedTensors, accumulate};

use crate::optimizer::global_norm;
use crate::{BatchingArguments, Optimizer, Row, TrainError};

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepResult {
    /// The objective.
    pub loss: f64,
    /// Unweighted means by kind; none where no such target was computed.
    pub losses: MeanLosses,
    /// Global norm of the gradients, before clipping.
    pub grad_norm: f64,
}

/// Lays a step's rows out in micro-batches of `batch_size` rows. Nothing is padded: all sequences of the rows stand in one
/// row, as a tree where prefixes are shared, else one after another; only where documents see those before them do
/// the rows stay rows.
pub fn micro_batches(
    sequences: &[Sequence],
    rows: &[Row],
    batch_size: usize,
    batching: &BatchingArguments,
) -> Vec<Batch> {
    let sequences_of = |row: &Row| -> Vec<&Sequence> {
        row.iter()
            .map(|&index| &sequences[index as usize])
            .collect()
    };
    rows.chunks(batch_size)
        .map(|rows| {
            let rows: Vec<Vec<&Sequence>> = rows.iter().map(sequences_of).collect();
            if batching.cross_document_attention {
                lay_out_packs(&rows, CrossDocumentAttention::Allowed)
            } else if batching.shares_prefixes() {
                share_prefixes(&rows.concat())
            } else {
                concatenate(&rows.concat())
            }
        })
        .collect()
}

/// The objective of these micro-batches together, its gradients by parameter, and the losses to report.
///
/// The denominator is that of the whole step, so that how it is split into micro-batches changes nothing; nor does
/// `gradient_checkpointing`, which keeps no more than each layer's input and computes the layers again in the backward pass.
///
/// # Errors
///
/// Where no token of the step has a weight.
pub fn loss_and_gradients(
    model: &Llama,
    batches: &[Batch],
    weights: TokenWeights,
    normalization: Normalization,
    gradient_checkpointing: bool,
    dropout: Option<&DropoutKey>,
) -> Result<(f64, MeanLosses, NamedTensors), TrainError> {
    let sequences = batches.iter().flat_map(|batch| &batch.sequences);
    let normalizer = Normalizer::of_step(sequences, weights, normalization)?;
    let mut loss = 0.0;
    let mut totals = LossTotals::default();
    let mut gradients = NamedTensors::new();
    for batch in batches {
        let targets = WeightedTargets::new(batch, &normalizer);
        if targets.is_empty() {
            continue;
        }
        let checkpointed = gradient_checkpointing
            .then(|| model.forward_checkpointed(batch, &targets.rows, dropout));
        let hidden = match &checkpointed {
            Some(forward) => forward.hidden(),
            None => model.forward(batch, &targets.rows, dropout),
        };
        let result = linear_cross_entropy(hidden, model.classifier(), &targets, DEFAULT_CHUNK);
        let target_losses = result
            .target_losses
            .into_data_as::<f32>()
            .try_into_vec::<f32>()
            .expect("the data was converted to f32 just now");
        let weighted = targets.weight.iter().zip(&target_losses);
        loss += weighted
            .map(|(&weight, &loss)| f64::from(weight) * f64::from(loss))
            .sum::<f64>();
        totals.add(batch, &targets, &target_losses);
        let mut of_loss = result.loss.backward();
        let part = match checkpointed {
            Some(forward) => forward.gradients(of_loss),
            None => model.take_gradients(&mut of_loss),
        };
        accumulate(&mut gradients, part);
    }
    Ok((loss, totals.means(), gradients))
}

/// Takes one optimizer step. `max_grad_norm` 0 turns clipping off.
///
/// # Errors
///
/// Where no token has a weight, or the loss or the gradients are not finite; the model is lost then.
#[expect(
    clippy::too_many_arguments,
    reason = "a step is all of these; a struct of them would only be taken apart again"
)]
pub fn step(
    model: Llama,
    optimizer: &mut Optimizer,
    batches: &[Batch],
    weights: TokenWeights,
    normalization: Normalization,
    learning_rate: f64,
    max_grad_norm: f64,
    gradient_checkpointing: bool,
    dropout: &DropoutKey,
) -> Result<(Llama, StepResult), TrainError> {
    let (loss, losses, gradients) = loss_and_gradients(
        &model,
        batches,
        weights,
        normalization,
        gradient_checkpointing,
        Some(dropout),
    )?;
    let grad_norm = global_norm(&gradients);
    for (what, value) in [("loss", loss), ("gradient norm", grad_norm)] {
        if !value.is_finite() {
            return Err(TrainError::NotFinite {
                what,
                value,
                step: optimizer.steps + 1,
                examples: String::new(),
            });
        }
    }
    let factor = if max_grad_norm > 0.0 {
        clip_factor(grad_norm, max_grad_norm)
    } else {
        1.0
    };
    let model = optimizer.step(model, gradients, factor, learning_rate);
    Ok((
        model,
        StepResult {
            loss,
            losses,
            grad_norm,
        },
    ))
}
