//! AdamW over all parameters of a model, and the gradients' global norm.

use std::collections::BTreeMap;

use plw_kernels::{AdamW, AdamWStep, Moments, adamw, squared_norm};
use plw_model::{Llama, NamedTensors};

use crate::TrainingArguments;

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
    pub fn step(
        &mut self,
        model: Llama,
        gradients: NamedTensors,
        gradient_factor: f64,
        learning_rate: f64,
    ) -> Llama {
        self.steps += 1;
        let step = AdamWStep {
            settings: self.settings,
            number: self.steps,
            learning_rate,
            gradient_factor,
        };
        model.update(gradients, |name, value, gradient| {
            let before = self.moments.remove(name);
            let (value, moments) = adamw(value, gradient, before, &step);
            self.moments.insert(name.to_string(), moments);
            value
        })
    }
}

/// The norm of all gradients together.
pub fn global_norm(gradients: &NamedTensors) -> f64 {
    squared_norm(gradients.values()).sqrt()
}
