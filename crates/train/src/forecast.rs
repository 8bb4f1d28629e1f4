//! What a training run will compute and need, before it starts.

use plw_batch::Sequence;
use plw_loss::WeightedTargets;
use plw_model::{LlamaConfig, LoraConfig, PassSize, WeightType};
use serde::Serialize;

use crate::step::lay_out;
use crate::{
    BatchingArguments, LossArguments, MemoryEstimate, TrainError, TrainingArguments, plan,
};

/// What a training run will compute and need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Optimizer steps.
    pub steps: u64,
    /// Sequences trained on, over all epochs.
    pub sequences: u64,
    /// Their tokens, each sequence counting its own.
    pub tokens: u64,
    /// Positions that the forward passes compute: fewer than `tokens` where prefixes are shared.
    pub tokens_computed: u64,
    /// The memory that the run needs.
    #[serde(flatten)]
    pub memory: MemoryEstimate,
}

/// The model of a run, as far as its size goes.
#[derive(Debug, Clone, Copy)]
pub struct ModelSize<'a> {
    /// Its configuration.
    pub config: &'a LlamaConfig,
    /// Its adapters, if only they are trained.
    pub lora: Option<&'a LoraConfig>,
    /// Type of the layers' linear weights in memory.
    pub linear_weights: WeightType,
}

/// Lays out every step of a run, and estimates what it computes and needs.
///
/// # Errors
///
/// If there is no sequence, a setting makes no sense, or a step has no token with a weight.
pub fn forecast(
    sequences: &[Sequence],
    batching: &BatchingArguments,
    training: &TrainingArguments,
    loss: &LossArguments,
    model: ModelSize<'_>,
) -> Result<Forecast, TrainError> {
    let objective = loss.objective()?;
    let plan = plan(sequences, batching, training)?;
    let (mut trained_on, mut tokens) = (0, 0);
    let mut sizes = Vec::new();
    for packs in &plan.steps {
        let (batches, normalizer) = lay_out(sequences, packs, batching, training, objective)?;
        for batch in &batches {
            tokens += batch.tokens() as u64;
            trained_on += batch.sequences.len() as u64;
            sizes.push(PassSize {
                positions: batch.positions() as u64,
                rows: WeightedTargets::new(batch, &normalizer).rows.len() as u64,
            });
        }
    }
    let memory = MemoryEstimate::new(
        model.config,
        model.lora,
        model.linear_weights,
        training,
        sizes.iter().copied(),
    );
    Ok(Forecast {
        steps: plan.steps.len() as u64,
        sequences: trained_on,
        tokens,
        tokens_computed: sizes.iter().map(|size| size.positions).sum(),
        memory: memory.ok_or(TrainError::NoSteps)?,
    })
}
