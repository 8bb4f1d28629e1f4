//! Loss weights by role.

use plw_batch::Role;

/// Loss weights by role: not negative, not both zero, and such that f32 holds them, in which losses
/// are computed. The prompt's weight is that of Vaughn
/// 2024, the completion's that of Weighted Instruction Tuning (arXiv 2507.07817).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenWeights {
    prompt: f64,
    completion: f64,
}

/// A loss that cannot be weighed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightError {
    /// A weight is negative, not a number, or too large or too small for f32.
    #[error(
        "{name} is {value:?}: a loss weight must be 0 or from 1.2e-38 to 3.4e38, as f32 holds it \
         (0 masks the tokens, 1 counts them fully)"
    )]
    NotAWeight {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// Both weights are zero.
    #[error(
        "prompt_loss_weight and completion_loss_weight are both 0: no token would count; raise one"
    )]
    BothZero,
    /// No target of a step counts, so that its denominator is zero.
    #[error(
        "none of this step's {sequences} sequence(s) has a token that counts \
         (prompt_loss_weight {prompt:?}, completion_loss_weight {completion:?}): \
         raise a weight or drop such examples"
    )]
    NothingCounts {
        /// Sequences of the step.
        sequences: usize,
        /// The prompt's weight.
        prompt: f64,
        /// The completion's weight.
        completion: f64,
    },
}

impl TokenWeights {
    /// Checks and takes the weights.
    ///
    /// # Errors
    ///
    /// Where f32 does not hold one, one is negative, or both are zero.
    pub fn new(prompt: f64, completion: f64) -> Result<Self, WeightError> {
        for (name, value) in [
            ("prompt_loss_weight", prompt),
            ("completion_loss_weight", completion),
        ] {
            let held = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
            if value != 0.0 && !held.contains(&value) {
                return Err(WeightError::NotAWeight { name, value });
            }
        }
        if prompt == 0.0 && completion == 0.0 {
            return Err(WeightError::BothZero);
        }
        Ok(Self { prompt, completion })
    }

    /// Every token counts alike: plain causal language modeling.
    pub const UNIFORM: Self = Self {
        prompt: 1.0,
        completion: 1.0,
    };

    /// Only the completion counts: the prompt is masked.
    pub const COMPLETION_ONLY: Self = Self {
        prompt: 0.0,
        completion: 1.0,
    };

    /// The weight of a role's tokens.
    pub fn of(&self, role: Role) -> f64 {
        match role {
            Role::Prompt => self.prompt,
            Role::Completion => self.completion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_weights_are_refused() {
        for (prompt, completion, says) in [
            (-0.1, 1.0, "prompt_loss_weight is -0.1"),
            (f64::NAN, 1.0, "prompt_loss_weight is NaN"),
            (1.0, f64::INFINITY, "completion_loss_weight is inf"),
            // Sums of such weights would overflow, and every loss would be 0.
            (1e308, 1e308, "prompt_loss_weight is 1e308"),
            (1.0, 1e-46, "completion_loss_weight is 1e-46"),
            (0.0, 0.0, "both 0"),
        ] {
            let error = TokenWeights::new(prompt, completion)
                .expect_err("refused")
                .to_string();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(
            TokenWeights::new(2.5, 0.0).map(|w| w.of(Role::Prompt)),
            Ok(2.5)
        );
    }
}
