//! The settings of a training run, named as in transformers' TrainingArguments where it has them.

use plw_loss::{Normalization, TokenWeights};
use serde::{Deserialize, Serialize};

use crate::{LrSchedulerType, TrainError};

/// Steps, schedule and optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingArguments {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// AdamW's decay of the first moment.
    pub adam_beta1: f64,
    /// AdamW's decay of the second moment.
    pub adam_beta2: f64,
    /// AdamW's epsilon.
    pub adam_epsilon: f64,
    /// Gradients are scaled so that their global norm is at most this; 0 turns clipping off.
    pub max_grad_norm: f64,
    /// How the learning rate goes on after the warm-up.
    pub lr_scheduler_type: LrSchedulerType,
    /// Steps of linear warm-up; wins over `warmup_ratio` where it is not 0.
    pub warmup_steps: u64,
    /// Share of all steps that is warm-up, rounded up.
    pub warmup_ratio: f64,
    /// Examples (packs, where packed) of a micro-batch.
    pub per_device_train_batch_size: usize,
    /// Micro-batches of an optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Whether the backward pass computes each layer again from its input instead of keeping what the forward pass made:
    /// the same gradients for less memory and a third more time.
    pub gradient_checkpointing: bool,
    /// Optimizer steps; wins over `num_train_epochs` where it is given.
    pub max_steps: Option<u64>,
    /// Passes over the training data.
    pub num_train_epochs: f64,
    /// Seed of shuffling and dropout.
    pub seed: u64,
    /// Steps between lines of `metrics.jsonl`.
    pub logging_steps: u64,
    /// Steps between evaluations; none: only before the first and after the last step.
    pub eval_steps: Option<u64>,
    /// Steps between checkpoints; none: only after the last step.
    pub save_steps: Option<u64>,
    /// Checkpoints kept; none: all.
    pub save_total_limit: Option<usize>,
    /// Whether the checkpoint that was best on the validation questions is the run's result.
    pub load_best_model_at_end: bool,
}

impl Default for TrainingArguments {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            weight_decay: 1e-3,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 0.3,
            lr_scheduler_type: LrSchedulerType::ConstantWithWarmup,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 1,
            gradient_checkpointing: false,
            max_steps: None,
            num_train_epochs: 1.0,
            seed: 1234,
            logging_steps: 1,
            eval_steps: None,
            save_steps: None,
            save_total_limit: None,
            load_best_model_at_end: false,
        }
    }
}

/// More passes over the data than anybody means.
const MOST_EPOCHS: f64 = 100_000.0;

/// More rows a step than any data set has.
const MOST_ROWS: usize = 1 << 32;

impl TrainingArguments {
    /// Checks what no type can.
    ///
    /// # Errors
    ///
    /// Names the first setting that makes no sense.
    pub fn check(&self) -> Result<(), TrainError> {
        let not_negative = [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("max_grad_norm", self.max_grad_norm),
            ("num_train_epochs", self.num_train_epochs),
        ];
        for (name, value) in not_negative {
            if !value.is_finite() || value < 0.0 {
                return Err(TrainError::setting(
                    name,
                    value,
                    "a finite number that is not negative",
                ));
            }
        }
        for (name, value) in [
            ("adam_beta1", self.adam_beta1),
            ("adam_beta2", self.adam_beta2),
        ] {
            if !(0.0..1.0).contains(&value) {
                return Err(TrainError::setting(
                    name,
                    value,
                    "a number from 0 up to but not including 1",
                ));
            }
        }
        if self.max_steps.is_none() && self.num_train_epochs == 0.0 {
            return Err(TrainError::setting(
                "num_train_epochs",
                self.num_train_epochs,
                "a positive number where max_steps does not say how long to train",
            ));
        }
        // Every step is planned ahead.
        if self.max_steps.is_none() && self.num_train_epochs > MOST_EPOCHS {
            return Err(TrainError::setting(
                "num_train_epochs",
                self.num_train_epochs,
                "at most 100000; max_steps has no such limit",
            ));
        }
        if !(0.0..=1.0).contains(&self.warmup_ratio) {
            return Err(TrainError::setting(
                "warmup_ratio",
                self.warmup_ratio,
                "a share between 0 and 1",
            ));
        }
        if !(self.adam_epsilon.is_finite() && self.adam_epsilon > 0.0) {
            return Err(TrainError::setting(
                "adam_epsilon",
                self.adam_epsilon,
                "a small positive number",
            ));
        }
        let at_least_one = [
            (
                "per_device_train_batch_size",
                self.per_device_train_batch_size as u64,
            ),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps as u64,
            ),
            ("max_steps", self.max_steps.unwrap_or(1)),
            ("logging_steps", self.logging_steps),
            ("eval_steps", self.eval_steps.unwrap_or(1)),
            ("save_steps", self.save_steps.unwrap_or(1)),
            (
                "save_total_limit",
                self.save_total_limit.unwrap_or(1) as u64,
            ),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(TrainError::setting(name, value, "at least 1"));
            }
        }
        let rows = self
            .per_device_train_batch_size
            .checked_mul(self.gradient_accumulation_steps);
        if rows.is_none_or(|rows| rows > MOST_ROWS) {
            return Err(TrainError::setting(
                "per_device_train_batch_size",
                self.per_device_train_batch_size,
                "at most 4294967296 together with gradient_accumulation_steps; no data set has as many examples",
            ));
        }
        Ok(())
    }

    /// W: the steps of warm-up in a run of so many steps.
    pub fn warmup(&self, total_steps: u64) -> u64 {
        if self.warmup_steps > 0 {
            self.warmup_steps
        } else {
            (self.warmup_ratio * total_steps as f64).ceil() as u64
        }
    }

    /// Rows (examples, or packs) of an optimizer step.
    pub fn rows_per_step(&self) -> usize {
        self.per_device_train_batch_size * self.gradient_accumulation_steps
    }
}

/// What tokens count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossArguments {
    /// Weight of a prompt token: 0 masks the prompt, 1 is plain causal language modelling.
    pub prompt_loss_weight: f64,
    /// Weight of a completion token.
    pub completion_loss_weight: f64,
    /// What the weighted sum is divided by.
    pub normalization: Normalization,
}

impl Default for LossArguments {
    fn default() -> Self {
        Self {
            prompt_loss_weight: 1.0,
            completion_loss_weight: 1.0,
            normalization: Normalization::WeightSum,
        }
    }
}

impl LossArguments {
    /// The weights, checked.
    ///
    /// # Errors
    ///
    /// Where one is negative or not finite, or both are zero.
    pub fn weights(&self) -> Result<TokenWeights, TrainError> {
        Ok(TokenWeights::new(
            self.prompt_loss_weight,
            self.completion_loss_weight,
        )?)
    }
}

/// Whether sequences share rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// A row a sequence, padded to the longest of the batch.
    #[default]
    None,
    /// Rows of up to `max_length` tokens.
    ShortestPackFirst,
}

/// What is moved as one piece when examples are shuffled and packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShuffleUnit {
    /// An article with its questions.
    #[default]
    Article,
    /// Each question by itself.
    Question,
}

/// Which examples a step holds, and how they are laid out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchingArguments {
    /// Tokens of the longest sequence, and of a pack.
    pub max_length: usize,
    /// Whether sequences share rows.
    pub packing: Packing,
    /// Units packed at a time; none: all of an epoch, or with `cross_document_attention` 1000, as the article's reference.
    pub packing_window: Option<usize>,
    /// Whether packed documents see those before them, as in the article's reference.
    pub cross_document_attention: bool,
    /// Whether each epoch takes the examples in another order, drawn from the seed.
    pub shuffle: bool,
    /// What is moved as one piece.
    pub shuffle_unit: ShuffleUnit,
    /// Whether sequences of a micro-batch share the prefixes that they have in common, which changes the cost and no
    /// result; none: they do, but with `cross_document_attention`, where they cannot.
    pub share_prefixes: Option<bool>,
}

impl Default for BatchingArguments {
    fn default() -> Self {
        Self {
            max_length: 2048,
            packing: Packing::None,
            packing_window: None,
            cross_document_attention: false,
            shuffle: true,
            shuffle_unit: ShuffleUnit::Article,
            share_prefixes: None,
        }
    }
}

impl BatchingArguments {
    /// Whether they make sense together.
    ///
    /// # Errors
    ///
    /// Names the setting that does not.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.packing_window == Some(0) {
            return Err(TrainError::setting("packing_window", 0, "at least 1"));
        }
        if self.cross_document_attention && self.packing == Packing::None {
            return Err(TrainError::setting(
                "cross_document_attention",
                true,
                "false where nothing is packed (packing = \"none\")",
            ));
        }
        if self.cross_document_attention && self.share_prefixes == Some(true) {
            return Err(TrainError::setting(
                "share_prefixes",
                true,
                "false with cross_document_attention: there each document follows others, so no two begin alike",
            ));
        }
        Ok(())
    }

    /// Whether sequences share the prefixes that they have in common.
    pub fn shares_prefixes(&self) -> bool {
        self.share_prefixes
            .unwrap_or(!self.cross_document_attention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_step_that_no_number_holds_are_refused() {
        let check = |per_device_train_batch_size, gradient_accumulation_steps| {
            TrainingArguments {
                per_device_train_batch_size,
                gradient_accumulation_steps,
                ..TrainingArguments::default()
            }
            .check()
            .map_err(|error| error.to_string())
        };
        assert_eq!(check(1 << 16, 1 << 16), Ok(()));
        for (size, steps) in [(1 << 62, 4), (1 << 32, 2)] {
            let error = check(size, steps).expect_err("refused");
            let named = format!("per_device_train_batch_size is {size}");
            assert!(error.contains(&named), "{error}");
        }
    }
}
