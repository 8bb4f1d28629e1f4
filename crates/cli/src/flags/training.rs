//! The flags of a training run's objective: loss, adapters, steps, schedule and optimizer.

use std::path::PathBuf;

use clap::Args;
use plw_loss::Normalization;
use plw_train::LrSchedulerType;
use serde::Serialize;

/// The names of a setting's values, as serde writes them: a new one needs no change here.
fn names<T: Serialize>(values: &[T]) -> String {
    let names = values.iter().map(serde_json::to_value);
    let names = names.filter_map(|name| Some(name.ok()?.as_str()?.to_string()));
    names.collect::<Vec<_>>().join(", ")
}

fn scheduler_help() -> String {
    format!(
        "How the learning rate continues after the warm-up: {}",
        names(&LrSchedulerType::ALL)
    )
}

fn normalization_help() -> String {
    format!(
        "What the weighted sum is divided by: {}",
        names(&Normalization::ALL)
    )
}

/// What each token counts in the loss.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Loss")]
pub(crate) struct LossFlags {
    /// Weight of a prompt token: 0 masks the prompt, 1 is plain causal language modeling.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_loss_weight: Option<f64>,
    /// Weight of a completion token.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_loss_weight: Option<f64>,
    #[arg(long, value_name = "S", help = normalization_help())]
    #[serde(skip_serializing_if = "Option::is_none")]
    normalization: Option<String>,
}

/// Low-rank adapters instead of all weights.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "LoRA")]
pub(crate) struct LoraFlags {
    /// Rank. Turns LoRA on.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_r: Option<usize>,
    /// Scale: the adapter's output is multiplied by alpha / r.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_alpha: Option<f64>,
    /// Share of the adapters' inputs dropped in training.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_dropout: Option<f64>,
    /// Layers that get an adapter, separated by commas.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_target_modules: Option<Vec<String>>,
    /// Start from this adapter (a PEFT directory) instead of a random one. `plw eval` calls it
    /// --adapter, because there nothing starts from it.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    init_adapter: Option<PathBuf>,
}

/// Steps, schedule and optimizer.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingFlags {
    /// Peak learning rate.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    /// AdamW's decoupled weight decay.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_decay: Option<f64>,
    /// AdamW's decay of the first moment.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    adam_beta1: Option<f64>,
    /// AdamW's decay of the second moment.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    adam_beta2: Option<f64>,
    /// AdamW's epsilon.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    adam_epsilon: Option<f64>,
    /// Largest global norm of the gradients. 0 turns clipping off.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_grad_norm: Option<f64>,
    /// Steps of linear warm-up.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_steps: Option<u64>,
    /// Share of all steps that is warm-up.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_ratio: Option<f64>,
    #[arg(long, value_name = "S", help = scheduler_help())]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr_scheduler_type: Option<String>,
    /// Examples (or packs) of a micro-batch. A step has this many times the micro-batches, whatever
    /// the number of processes: they share them, unlike in transformers.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    per_device_train_batch_size: Option<usize>,
    /// Micro-batches of an optimizer step, of all processes together.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_accumulation_steps: Option<usize>,
    /// Keep only each layer's input for the backward pass and recompute the rest: less memory, a
    /// third more time.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_checkpointing: Option<bool>,
    /// Optimizer steps. Overrides --num-train-epochs.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_steps: Option<u64>,
    /// Passes over the training data.
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    num_train_epochs: Option<f64>,
    /// none or shortest-pack-first.
    #[arg(long, value_name = "WAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    packing: Option<String>,
    /// Examples that are packed at a time.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    packing_window: Option<usize>,
    /// Let packed documents attend to those before them, as in the reference implementation.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cross_document_attention: Option<bool>,
    /// Whether each epoch takes the examples in a new order.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    shuffle: Option<bool>,
    /// What is shuffled and packed as one piece: passage or question.
    #[arg(long, value_name = "UNIT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    shuffle_unit: Option<String>,
    /// Seed of initialization, shuffling and dropout.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Steps between lines of metrics.jsonl.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    logging_steps: Option<u64>,
    /// Steps between evaluations.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_steps: Option<u64>,
    /// Steps between checkpoints, besides that after the last step; 0 turns the others off.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_steps: Option<u64>,
    /// Checkpoints kept.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_total_limit: Option<usize>,
    /// Leave the optimizer's state out of checkpoints: a third of the space, but no run can resume
    /// from them.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_only_model: Option<bool>,
    /// Type of the weights in checkpoints, where all of them are trained: float32, or with
    /// --save-only-model bfloat16 or float16.
    #[arg(long, value_name = "TYPE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_dtype: Option<String>,
    /// Take the checkpoint that was best on the validation questions as the result.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    load_best_model_at_end: Option<bool>,
}
