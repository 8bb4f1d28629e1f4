//! The losses that are reported: sums over (sequence, target) pairs divided by their number.

use std::collections::HashMap;

use plw_batch::{Batch, Role};
use serde::{Deserialize, Serialize};

use crate::WeightedTargets;

/// Sums of unweighted losses by kind, in f64, over as many batches as are added.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LossTotals {
    prompt: Total,
    completion: Total,
    answer: Total,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Total {
    sum: f64,
    pairs: u64,
}

/// Mean cross-entropy in nats a token; none where no such target was computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MeanLosses {
    /// Of prompt tokens.
    pub prompt: Option<f64>,
    /// Of completion tokens, end of turn included.
    pub completion: Option<f64>,
    /// Of the answers' letters alone.
    pub answer: Option<f64>,
}

impl Total {
    fn add(&mut self, loss: f64) {
        self.sum += loss;
        self.pairs += 1;
    }

    fn mean(self) -> Option<f64> {
        (self.pairs > 0).then(|| self.sum / self.pairs as f64)
    }
}

impl LossTotals {
    /// Adds a batch's per-target losses `[targets]`, in the order of `targets`.
    pub fn add(&mut self, batch: &Batch, targets: &WeightedTargets, losses: &[f32]) {
        for totals in Self::of_sequences(batch, targets, losses) {
            self.merge(totals);
        }
    }

    /// Adds what another has summed.
    pub fn merge(&mut self, other: Self) {
        for (mine, its) in [
            (&mut self.prompt, other.prompt),
            (&mut self.completion, other.completion),
            (&mut self.answer, other.answer),
        ] {
            mine.sum += its.sum;
            mine.pairs += its.pairs;
        }
    }

    /// The sums and the numbers of their terms, for those who add them up elsewhere.
    pub fn to_numbers(self) -> [f64; 6] {
        let of = |total: Total| [total.sum, total.pairs as f64];
        let [prompt, completion, answer] = [self.prompt, self.completion, self.answer].map(of);
        [
            prompt[0],
            prompt[1],
            completion[0],
            completion[1],
            answer[0],
            answer[1],
        ]
    }

    /// The totals of what [`LossTotals::to_numbers`] returned, or of a sum of such.
    pub fn from_numbers(numbers: [f64; 6]) -> Self {
        let of = |sum, pairs| Total {
            sum,
            pairs: pairs as u64,
        };
        Self {
            prompt: of(numbers[0], numbers[1]),
            completion: of(numbers[2], numbers[3]),
            answer: of(numbers[4], numbers[5]),
        }
    }

    /// The means.
    pub fn means(&self) -> MeanLosses {
        MeanLosses {
            prompt: self.prompt.mean(),
            completion: self.completion.mean(),
            answer: self.answer.mean(),
        }
    }

    /// Each sequence's own totals, in the batch's order.
    pub fn of_sequences(batch: &Batch, targets: &WeightedTargets, losses: &[f32]) -> Vec<Self> {
        // The last position of a shared prefix may predict the answers of several sequences: an
        // answer is found by position and token.
        let mut at: HashMap<u32, Vec<usize>> = HashMap::new();
        for (sequence, info) in batch.sequences.iter().enumerate() {
            if let Some(answer) = &info.answer {
                at.entry(answer.position).or_default().push(sequence);
            }
        }
        let mut totals = vec![Self::default(); batch.sequences.len()];
        for (&index, &loss) in targets.target.iter().zip(losses) {
            let target = &batch.targets[index as usize];
            let loss = f64::from(loss);
            let sharing = target.sequences.start as usize..target.sequences.end as usize;
            for total in &mut totals[sharing] {
                match target.role {
                    Role::Prompt => total.prompt.add(loss),
                    Role::Completion => total.completion.add(loss),
                }
            }
            for &sequence in at.get(&target.position).into_iter().flatten() {
                let answers = batch.sequences[sequence]
                    .answer
                    .as_ref()
                    .map(plw_batch::Answer::token);
                if target.sequences.contains(&(sequence as u32)) && answers == Some(target.token) {
                    totals[sequence].answer.add(loss);
                }
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Normalizer, Objective, TokenWeights};
    use plw_batch::{Answer, Segment, Sequence, concatenate};

    #[test]
    fn means_are_over_pairs_and_the_answer_is_found() {
        let answer = Some(Answer {
            position: 2,
            option_tokens: vec![8, 9],
            correct: 1,
        });
        let sequence = Sequence {
            example: 0,
            group: 0,
            token_ids: vec![1, 2, 3, 9, 4],
            segments: Segment::prompt_and_completion(3, 5),
            answer,
        };
        let batch = concatenate(&[sequence.clone(), sequence]);
        let normalizer = Normalizer::of_step(
            &batch.sequences,
            Objective::weight_sum(TokenWeights::UNIFORM),
        )
        .expect("valid");
        let targets = WeightedTargets::new(&batch, &normalizer);
        let mut totals = LossTotals::default();
        totals.add(&batch, &targets, &[1.0, 2.0, 4.0, 6.0, 1.0, 2.0, 2.0, 2.0]);
        let means = totals.means();
        assert_eq!(
            means,
            MeanLosses {
                prompt: Some(1.5),
                completion: Some(3.5),
                answer: Some(3.0)
            }
        );

        let normalizer = Normalizer::of_step(
            &batch.sequences,
            Objective::weight_sum(TokenWeights::COMPLETION_ONLY),
        )
        .expect("valid");
        let targets = WeightedTargets::new(&batch, &normalizer);
        let of_sequences = LossTotals::of_sequences(&batch, &targets, &[4.0, 6.0, 2.0, 2.0]);
        assert_eq!(
            of_sequences[0].means(),
            MeanLosses {
                prompt: None,
                completion: Some(5.0),
                answer: Some(4.0)
            }
        );
    }
}
