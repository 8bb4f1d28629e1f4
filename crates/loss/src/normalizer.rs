//! The denominator of an optimizer step.

use plw_batch::{Role, SequenceInfo, Target};

use crate::{Objective, WeightError};

/// The denominator D of one optimizer step, over all its micro-batches, in f64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalizer {
    objective: Objective,
    denominator: f64,
}

impl Normalizer {
    /// The denominator of a step that consists of these sequences.
    ///
    /// # Errors
    ///
    /// If no target has a weight, so that there would be nothing to divide by.
    pub fn of_step<'a>(
        sequences: impl IntoIterator<Item = &'a SequenceInfo>,
        objective: Objective,
    ) -> Result<Self, WeightError> {
        let Objective {
            weights,
            normalization,
        } = objective;
        let mut count = 0;
        let denominator: f64 = sequences
            .into_iter()
            .inspect(|_| count += 1)
            .map(|sequence| normalization.denominator(sequence, weights))
            .sum();
        if denominator > 0.0 {
            Ok(Self {
                objective,
                denominator,
            })
        } else {
            Err(WeightError::NothingCounts {
                sequences: count,
                prompt: weights.of(Role::Prompt),
                completion: weights.of(Role::Completion),
            })
        }
    }

    /// D.
    pub fn denominator(&self) -> f64 {
        self.denominator
    }

    /// The weight, divided by D, of a target that this sequence holds.
    pub fn weight(&self, target: &Target, sequence: &SequenceInfo) -> f64 {
        let Objective {
            weights,
            normalization,
        } = self.objective;
        let weight = weights.of(target.role) * target.weight;
        if weight == 0.0 || sequence.targets(target.role).count == 0 {
            return 0.0;
        }
        weight * normalization.scale(sequence, weights) / self.denominator
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Normalization, TokenWeights};
    use plw_batch::RoleTargets;

    fn target(role: Role) -> Target {
        Target {
            position: 0,
            token: 0,
            role,
            weight: 1.0,
            sequences: 0..1,
        }
    }

    fn info(prompt_targets: u32, completion_targets: u32) -> SequenceInfo {
        let tokens = prompt_targets + completion_targets + 1;
        SequenceInfo {
            example: 0,
            prompt_targets: RoleTargets::unweighted(prompt_targets),
            completion_targets: RoleTargets::unweighted(completion_targets),
            tokens,
            answer: None,
        }
    }

    #[test]
    fn denominators_follow_their_formulas() {
        let sequences = [info(10, 2), info(20, 0)];
        for (normalization, prompt, completion, expected) in [
            (Normalization::WeightSum, 0.1, 1.0, 5.0),
            (Normalization::WeightSum, 0.0, 1.0, 2.0),
            (Normalization::NonzeroCount, 0.1, 1.0, 32.0),
            (Normalization::NonzeroCount, 0.0, 3.0, 2.0),
            (Normalization::PerExample, 0.1, 1.0, 2.0),
            (Normalization::PerExample, 0.0, 1.0, 1.0),
        ] {
            let weights = TokenWeights::new(prompt, completion).expect("valid");
            let normalizer = Normalizer::of_step(
                &sequences,
                Objective {
                    weights,
                    normalization,
                },
            )
            .expect("something counts");
            assert!(
                (normalizer.denominator() - expected).abs() < 1e-12,
                "{normalization:?}"
            );
            // With these two the weights of a step sum to one.
            let sums_to_one = [Normalization::WeightSum, Normalization::PerExample];
            if sums_to_one.contains(&normalization) {
                let sum: f64 = sequences
                    .iter()
                    .flat_map(|s| [Role::Prompt, Role::Completion].map(|r| (s, r)))
                    .map(|(s, role)| s.targets(role).weight * normalizer.weight(&target(role), s))
                    .sum();
                assert!((sum - 1.0).abs() < 1e-12, "{normalization:?}: {sum}");
            }
        }
    }

    #[test]
    fn a_step_without_weight_is_an_error() {
        let result = Normalizer::of_step(
            &[info(5, 0)],
            Objective::weight_sum(TokenWeights::COMPLETION_ONLY),
        );
        assert!(matches!(
            result,
            Err(WeightError::NothingCounts { sequences: 1, .. })
        ));
    }
}
