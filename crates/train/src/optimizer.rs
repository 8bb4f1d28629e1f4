//! AdamW over all parameters of a model, and the gradients' global norm.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use plw_kernels::{AdamW, AdamWStep, Moments, Updated, adamw, squared_norm};
use plw_model::{Llama, NamedTensors};

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

    /// One AdamW step of every parameter that has a gradient. The gradients are multiplied by
    /// `gradient_factor` first.
    ///
    /// # Errors
    ///
    /// If a parameter or its moments are not finite afterwards: [`TrainError::WeightsNotFinite`],
    /// without the names of examples. The model is lost then.
    pub fn step(
        &mut self,
        model: Llama,
        gradients: NamedTensors,
        gradient_factor: f64,
        learning_rate: f64,
    ) -> Result<Llama, TrainError> {
        self.steps += 1;
        let step = AdamWStep {
            settings: self.settings,
            number: self.steps,
            learning_rate,
            gradient_factor,
        };
        let (mut names, mut not_finite) = (Vec::new(), Vec::new());
        let model = model.update(gradients, |name, value, gradient| {
            let before = self.moments.remove(name);
            let updated: Updated<1> = adamw(value, gradient, before, &step);
            self.moments.insert(name.to_string(), updated.moments);
            names.push(name.to_string());
            not_finite.push(updated.not_finite);
            updated.parameter
        });
        match first_above_zero(not_finite) {
            None => Ok(model),
            Some(index) => Err(TrainError::WeightsNotFinite {
                tensor: names.swap_remove(index),
                step: self.steps,
                examples: String::new(),
            }),
        }
    }
}

/// The index of the first of these tensors of one element that is above 0. Reads them at once, so
/// that a device is waited for once.
fn first_above_zero(tensors: Vec<Tensor<1>>) -> Option<usize> {
    if tensors.is_empty() {
        return None;
    }
    let values = Tensor::cat(tensors, 0).into_data_as::<f32>();
    values.iter::<f32>().position(|value| value > 0.0)
}

/// The norm of all gradients together.
pub fn global_norm(gradients: &NamedTensors) -> f64 {
    squared_norm(gradients.values()).sqrt()
}
