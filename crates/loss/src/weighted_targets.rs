//! The targets of one batch that have a weight.

use plw_batch::Batch;

use crate::Normalizer;

/// The targets of one batch that have a weight: the rows to gather, and per target its row, token
/// and weight / D.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WeightedTargets {
    /// `[rows]`: the flat positions in `[batch * seq]` whose hidden states are needed, ascending,
    /// each once.
    pub rows: Vec<u32>,
    /// `[targets]`: each target's index in `rows`.
    pub row: Vec<u32>,
    /// `[targets]`: the token that it predicts.
    pub token: Vec<u32>,
    /// `[targets]`: its weight, divided by D, summed over the sequences that share it.
    pub weight: Vec<f32>,
    /// `[targets]`: its index in the batch's targets.
    pub target: Vec<u32>,
}

impl WeightedTargets {
    /// Weights a batch's targets and drops those of weight zero.
    pub fn new(batch: &Batch, normalizer: &Normalizer) -> Self {
        let mut weighted = Self::default();
        for (index, target) in (0u32..).zip(&batch.targets) {
            let sharing =
                &batch.sequences[target.sequences.start as usize..target.sequences.end as usize];
            let weight: f64 = sharing
                .iter()
                .map(|sequence| normalizer.weight(target, sequence))
                .sum();
            if weight == 0.0 {
                continue;
            }
            if weighted.rows.last() != Some(&target.position) {
                weighted.rows.push(target.position);
            }
            weighted.row.push(weighted.rows.len() as u32 - 1);
            weighted.token.push(target.token);
            weighted.weight.push(weight as f32);
            weighted.target.push(index);
        }
        weighted
    }

    /// Whether no target has a weight.
    pub fn is_empty(&self) -> bool {
        self.target.is_empty()
    }

    /// Number of targets that have a weight.
    pub fn len(&self) -> usize {
        self.target.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Normalization, Objective, TokenWeights};
    use plw_batch::{Role, RoleTargets, SequenceInfo, Target};

    #[test]
    fn a_shared_target_weighs_as_much_as_its_sequences_together() {
        let info = |completion_targets| SequenceInfo {
            example: 0,
            prompt_targets: RoleTargets::unweighted(1),
            completion_targets: RoleTargets::unweighted(completion_targets),
            tokens: 2 + completion_targets,
            answer: None,
        };
        let target = |position, role, sequences| Target {
            position,
            token: 5,
            role,
            weight: 1.0,
            sequences,
        };
        let batch = Batch {
            shape: [1, 4],
            token_ids: vec![0; 4],
            position_ids: vec![0; 4],
            visible_until: vec![4; 4],
            first_sequence: vec![0; 4],
            targets: vec![
                target(0, Role::Prompt, 0..2),
                target(1, Role::Completion, 0..1),
                target(1, Role::Completion, 1..2),
                target(2, Role::Completion, 1..2),
            ],
            sequences: vec![info(1), info(2)],
        };
        let weights = TokenWeights::new(0.5, 1.0).expect("valid");
        let objective = Objective::weight_sum(weights);
        let normalizer = Normalizer::of_step(&batch.sequences, objective).expect("valid");
        let weighted = WeightedTargets::new(&batch, &normalizer);
        assert_eq!(
            (weighted.rows, weighted.row),
            (vec![0, 1, 2], vec![0, 1, 1, 2])
        );
        assert_eq!(weighted.weight, [0.25, 0.25, 0.25, 0.25]);

        let objective = Objective {
            weights: TokenWeights::COMPLETION_ONLY,
            normalization: Normalization::PerExample,
        };
        let normalizer = Normalizer::of_step(&batch.sequences, objective).expect("valid");
        let weighted = WeightedTargets::new(&batch, &normalizer);
        assert_eq!(
            (weighted.rows, weighted.target),
            (vec![1, 2], vec![1, 2, 3])
        );
        assert_eq!(weighted.weight, [0.5, 0.25, 0.25]);
    }
}
