//! The settings of a training run, named as in transformers' TrainingArguments where it has them.

use plw_loss::{Normalization, Objective, TokenWeights};
use plw_model::WeightType;
use serde::{Deserialize, Serialize};

use crate::{LrSchedulerType, Schedule, TrainError};

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
    /// How the learning rate continues after the warm-up.
    pub lr_scheduler_type: LrSchedulerType,
    /// Steps of linear warm-up; wins over `warmup_ratio` where it is not 0.
    pub warmup_steps: u64,
    /// Share of all steps that is warm-up, rounded up.
    pub warmup_ratio: f64,
    /// Packs of a micro-batch. Without packing each example is a pack. A step has this many times
    /// `gradient_accumulation_steps`, whatever the number of processes that share it.
    pub per_device_train_batch_size: usize,
    /// Micro-batches of an optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Whether the backward pass recomputes each layer from its input instead of keeping all
    /// activations: the same gradients, for less memory and a third more time.
    pub gradient_checkpointing: bool,
    /// Optimizer steps; wins over `num_train_epochs` where it is given.
    pub max_steps: Option<u64>,
    /// Passes over the training data.
    pub num_train_epochs: f64,
    /// Seed of shuffling and dropout.
    pub seed: u64,
    /// Steps between lines of `metrics.jsonl`.
    pub logging_steps: u64,
    /// Steps between evaluations. None: only before the first and after the last step.
    pub eval_steps: Option<u64>,
    /// Steps between checkpoints, besides that after the last step; 0 turns the others off.
    pub save_steps: u64,
    /// Checkpoints kept. None: all. A checkpoint goes when a later one exists and a step has been
    /// taken from it, since only that shows that its weights still compute a loss.
    pub save_total_limit: Option<usize>,
    /// Whether checkpoints hold the model alone. They take a third of the space, and no run can
    /// resume from them.
    pub save_only_model: bool,
    /// Type in which checkpoints hold the weights of a model whose weights are all trained. Another
    /// than float32 needs `save_only_model`: rounded weights would change a resumed run.
    pub save_dtype: WeightType,
    /// Whether the checkpoint that was best on the validation examples is the run's result: by
    /// accuracy, or by completion loss where no example is a question.
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
            save_steps: 500,
            save_total_limit: None,
            save_only_model: false,
            save_dtype: WeightType::F32,
            load_best_model_at_end: false,
        }
    }
}

/// More passes over the data than anybody means.
const MOST_EPOCHS: f64 = 100_000.0;

/// More packs in a step than any data set has.
const MOST_PACKS: usize = 1 << 32;

impl TrainingArguments {
    /// Checks what no type can.
    ///
    /// # Errors
    ///
    /// Names the first setting that makes no sense.
    pub fn check(&self) -> Result<(), TrainError> {
        self.check_optimizer()?;
        self.check_length()?;
        self.check_counts()?;
        self.check_saving()
    }

    fn check_optimizer(&self) -> Result<(), TrainError> {
        let (rate, decay) = (self.learning_rate, self.weight_decay);
        check_not_negative("weight_decay", decay)?;
        for (name, value) in [
            ("learning_rate", rate),
            ("max_grad_norm", self.max_grad_norm),
        ] {
            if value != 0.0 && !f32_holds(value) {
                return Err(TrainError::setting(name, value, HELD_BY_F32));
            }
        }
        for (name, value) in [
            ("adam_beta1", self.adam_beta1),
            ("adam_beta2", self.adam_beta2),
        ] {
            if !(0.0..1.0).contains(&value) || value as f32 == 1.0 {
                let expected = "a number from 0 up to 0.9999999; f32 rounds what is nearer to 1";
                return Err(TrainError::setting(name, value, expected));
            }
        }
        if !f32_holds(self.adam_epsilon) {
            let expected = "a small positive number, at least 1.2e-38, as f32 holds it";
            return Err(TrainError::setting(
                "adam_epsilon",
                self.adam_epsilon,
                expected,
            ));
        }
        // What AdamW multiplies by: see `plw_kernels::adamw`.
        if [rate / (1.0 - self.adam_beta1), rate * decay]
            .iter()
            .any(|&factor| factor > f64::from(f32::MAX))
        {
            let expected = "less: AdamW computes learning_rate / (1 - adam_beta1) and \
                            learning_rate * weight_decay in f32, which ends at 3.4e38";
            return Err(TrainError::setting("learning_rate", rate, expected));
        }
        if !(0.0..=1.0).contains(&self.warmup_ratio) {
            let expected = "a share between 0 and 1";
            return Err(TrainError::setting(
                "warmup_ratio",
                self.warmup_ratio,
                expected,
            ));
        }
        Ok(())
    }

    fn check_saving(&self) -> Result<(), TrainError> {
        if self.save_dtype == WeightType::F32 {
            return Ok(());
        }
        let expected = if !self.save_only_model {
            "float32 without save_only_model: a run that resumes from rounded weights would end \
             with others"
        } else if self.load_best_model_at_end {
            "float32 with load_best_model_at_end, which reads the best model from its checkpoint"
        } else {
            return Ok(());
        };
        let name = self.save_dtype.name();
        Err(TrainError::setting("save_dtype", name, expected))
    }

    /// `max_steps` wins over `num_train_epochs`, which then only has to be positive.
    fn check_length(&self) -> Result<(), TrainError> {
        let epochs = self.num_train_epochs;
        check_not_negative("num_train_epochs", epochs)?;
        let expected = match self.max_steps {
            _ if epochs == 0.0 => {
                "a positive number, or left out where max_steps says how long to train"
            }
            Some(_) => return Ok(()),
            // Every step is planned ahead.
            None if epochs > MOST_EPOCHS => "at most 100000; max_steps has no such limit",
            None => return Ok(()),
        };
        Err(TrainError::setting("num_train_epochs", epochs, expected))
    }

    fn check_counts(&self) -> Result<(), TrainError> {
        let (size, steps) = (
            self.per_device_train_batch_size,
            self.gradient_accumulation_steps,
        );
        for (name, value) in [
            ("per_device_train_batch_size", size as u64),
            ("gradient_accumulation_steps", steps as u64),
            ("max_steps", self.max_steps.unwrap_or(1)),
            ("logging_steps", self.logging_steps),
            ("eval_steps", self.eval_steps.unwrap_or(1)),
            (
                "save_total_limit",
                self.save_total_limit.unwrap_or(1) as u64,
            ),
        ] {
            if value == 0 {
                return Err(TrainError::setting(name, value, "at least 1"));
            }
        }
        if size
            .checked_mul(steps)
            .is_none_or(|packs| packs > MOST_PACKS)
        {
            return Err(TrainError::setting(
                "per_device_train_batch_size",
                size,
                "at most 4294967296 together with gradient_accumulation_steps; \
                 no data set has as many examples",
            ));
        }
        Ok(())
    }

    /// The learning rates of a run of `total_steps`.
    pub fn schedule(&self, total_steps: u64) -> Schedule {
        let warmup_steps = match self.warmup_steps {
            0 => (self.warmup_ratio * total_steps as f64).ceil() as u64,
            steps => steps,
        };
        Schedule {
            kind: self.lr_scheduler_type,
            peak: self.learning_rate,
            warmup_steps,
            total_steps,
        }
    }

    /// Whether a step of a run of `total_steps` has a row in `metrics.jsonl`.
    pub(crate) fn logs_after(&self, step: u64, total_steps: u64) -> bool {
        step == total_steps || step.is_multiple_of(self.logging_steps)
    }

    /// Whether a checkpoint follows a step of a run of `total_steps`.
    pub(crate) fn saves_after(&self, step: u64, total_steps: u64) -> bool {
        step == total_steps || (self.save_steps > 0 && step.is_multiple_of(self.save_steps))
    }

    /// Whether an evaluation follows a step of a run of `total_steps`. Step 0 is before the first.
    pub(crate) fn evaluates_after(&self, step: u64, total_steps: u64) -> bool {
        step == 0
            || step == total_steps
            || self
                .eval_steps
                .is_some_and(|every| step.is_multiple_of(every))
    }

    /// Packs of an optimizer step. Without packing each example is a pack.
    pub fn packs_per_step(&self) -> usize {
        self.per_device_train_batch_size * self.gradient_accumulation_steps
    }
}

/// What each token counts in the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossArguments {
    /// Weight of a prompt token: 0 masks the prompt, 1 is plain causal language modeling.
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
    /// The objective, with its weights checked.
    ///
    /// # Errors
    ///
    /// If a weight is negative or not finite, or both are zero.
    pub fn objective(&self) -> Result<Objective, TrainError> {
        Ok(Objective {
            weights: TokenWeights::new(self.prompt_loss_weight, self.completion_loss_weight)?,
            normalization: self.normalization,
        })
    }
}

/// What f32 can hold of a setting that may be 0.
const HELD_BY_F32: &str = "0, or a number from 1.2e-38 to 3.4e38, as f32 holds it";

/// Whether f32 holds a positive number with all of its digits.
fn f32_holds(value: f64) -> bool {
    (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&value)
}

/// Checks that a setting is a finite number of at least 0.
fn check_not_negative(name: &'static str, value: f64) -> Result<(), TrainError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => {
            let expected = "a finite number that is not negative";
            Err(TrainError::setting(name, value, expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_larger_than_any_data_set_are_refused() {
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
    #[test]
    fn settings_that_f32_does_not_hold_are_refused() {
        type Change = fn(&mut TrainingArguments);
        let with = |change: Change| {
            let mut arguments = TrainingArguments::default();
            change(&mut arguments);
            arguments.check().map_err(|error| error.to_string())
        };
        let refused: [(Change, &str); 11] = [
            (|a| a.adam_epsilon = 1e-46, "adam_epsilon is 1e-46"),
            (|a| a.adam_epsilon = 1e39, "adam_epsilon is 1e39"),
            (|a| a.adam_epsilon = 0.0, "adam_epsilon is 0.0"),
            (|a| a.learning_rate = 1e38, "learning_rate is 1e38"),
            (|a| a.learning_rate = 1e-50, "learning_rate is 1e-50"),
            (|a| a.learning_rate = -1.0, "learning_rate is -1.0"),
            (
                |a| (a.learning_rate, a.weight_decay) = (1e20, 1e20),
                "learning_rate * weight_decay",
            ),
            (|a| a.max_grad_norm = 1e-60, "max_grad_norm is 1e-60"),
            (
                |a| a.adam_beta1 = 0.999_999_999,
                "adam_beta1 is 0.999999999",
            ),
            (|a| a.adam_beta2 = f64::NAN, "adam_beta2 is NaN"),
            (
                |a| (a.save_only_model, a.save_dtype) = (false, WeightType::Bf16),
                "save_dtype is \"bfloat16\": it must be float32 without save_only_model",
            ),
        ];
        for (change, says) in refused {
            let error = with(change).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
        let accepted: [Change; 4] = [
            |a| (a.learning_rate, a.max_grad_norm) = (0.0, 0.0),
            |a| (a.adam_beta1, a.adam_beta2) = (0.0, 0.999_999_9),
            |a| a.adam_epsilon = 1e-37,
            |a| (a.save_only_model, a.save_dtype) = (true, WeightType::Bf16),
        ];
        for change in accepted {
            assert_eq!(with(change), Ok(()));
        }
    }
}
