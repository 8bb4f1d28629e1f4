//! AdamW over all parameters of a model, and the gradients' global norm.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use plw_kernels::{
    AdamW, AdamWStep, AdamWUpdate, FiniteFlags, GradientFactor, Moments, Updated, adamw_together,
    squared_norm,
};
use plw_model::{Llama, NamedTensors, ParameterUpdate};

use crate::{TrainError, TrainingArguments};

/// AdamW's state: the moments of each parameter that was ever updated, by its name, and the number
/// of steps taken.
#[derive(Debug, Clone, Default)]
pub struct Optimizer {
    /// Settings.
    pub settings: AdamW,
    /// Steps taken.
    pub steps: u64,
    /// Moments by parameter, flat.
    pub moments: BTreeMap<String, Moments<1>>,
}

impl Optimizer {
    /// An optimizer that has taken no step.
    pub fn new(arguments: &TrainingArguments) -> Self {
        let settings = AdamW {
            beta_1: arguments.adam_beta1,
            beta_2: arguments.adam_beta2,
            epsilon: arguments.adam_epsilon,
            weight_decay: arguments.weight_decay,
        };
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Queues one AdamW step of every parameter that has a gradient. Gradients are multiplied by
    /// `gradient_factor` first. Whether the parameters and their moments are finite afterwards is
    /// known once the check that it returns was waited for.
    pub fn step(
        &mut self,
        model: Llama,
        gradients: NamedTensors,
        gradient_factor: GradientFactor,
        learning_rate: f64,
    ) -> (Llama, FiniteCheck) {
        self.steps += 1;
        let step = AdamWStep {
            settings: self.settings,
            number: self.steps,
            learning_rate,
            gradient_factor,
        };
        let mut check = FiniteCheck {
            step: self.steps,
            names: Vec::with_capacity(gradients.len()),
            flags: FiniteFlags::with_capacity(gradients.len()),
        };
        let model = model.update_together(gradients, |parameters| {
            let mut update = |parameter: ParameterUpdate| {
                let moments = self.moments.remove(&parameter.name);
                check.names.push(parameter.name);
                AdamWUpdate {
                    parameter: parameter.value,
                    gradient: parameter.gradient,
                    moments,
                }
            };
            let updates = parameters.into_iter().map(&mut update).collect();
            let updated = adamw_together(updates, &step, &mut check.flags);
            let mut keep = |(name, updated): (&String, Updated<1>)| {
                self.moments.insert(name.clone(), updated.moments);
                updated.parameter
            };
            check.names.iter().zip(updated).map(&mut keep).collect()
        });
        (model, check)
    }
}

/// Whether the parameters and moments of a step are finite, which the device has yet to tell.
#[derive(Debug)]
#[must_use = "a parameter that is not finite is told here alone"]
pub struct FiniteCheck {
    step: u64,
    names: Vec<String>,
    flags: FiniteFlags,
}

impl FiniteCheck {
    /// What is still on a GPU, for [`FiniteCheck::finish`].
    pub fn on_device(&self) -> Option<Tensor<1>> {
        self.flags.on_device()
    }

    /// The result, with what was read of [`FiniteCheck::on_device`].
    ///
    /// # Errors
    ///
    /// If a parameter or its moments are not finite: [`TrainError::WeightsNotFinite`], without the
    /// names of examples. The model is lost then.
    pub fn finish(mut self, read: &[f32]) -> Result<(), TrainError> {
        match self.flags.first_not_finite(read) {
            None => Ok(()),
            Some(number) => Err(TrainError::WeightsNotFinite {
                tensor: self.names.swap_remove(number),
                step: self.step,
                examples: String::new(),
            }),
        }
    }
}

/// The norm of all gradients together.
pub fn global_norm(gradients: &NamedTensors) -> f64 {
    squared_norm(gradients.values()).sqrt()
}
