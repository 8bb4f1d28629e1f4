//! What a forward pass tells of its sequences.

use burn::tensor::{Int, Tensor, TensorData};
use plw_batch::{Batch, ExampleKey, Examples, SequenceInfo, option_letter};
use plw_kernels::Readback;
use plw_loss::{LossTotals, WeightedTargets, default_chunk, linear_cross_entropy};
use plw_model::Llama;
use plw_record::PredictionRow;
use serde::{Deserialize, Serialize};

use crate::evaluate::place;
use crate::{EvaluationError, EvaluationOptions};

/// What a batch comes to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BatchScore {
    /// Its number among all batches.
    pub(crate) number: u32,
    /// Positions that were computed.
    pub(crate) positions: u64,
    /// Its sequences, in its order.
    pub(crate) sequences: Vec<SequenceScore>,
}

/// What an example comes to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SequenceScore {
    pub(crate) example: u32,
    pub(crate) losses: LossTotals,
    /// None if it is no question, or was not computed.
    options: Option<OptionScore>,
    completion_tokens: u32,
}

/// What a question comes to.
#[derive(Debug, Serialize, Deserialize)]
struct OptionScore {
    /// The logit of each option.
    logits: Vec<f32>,
    /// Whether the answer has the greatest logit of the vocabulary.
    argmax_is_answer: bool,
}

impl BatchScore {
    /// Computes a batch.
    ///
    /// # Errors
    ///
    /// If a logit or a loss is not finite.
    pub(crate) fn of(
        model: &Llama,
        batch: &Batch,
        number: u32,
        options: &EvaluationOptions,
        examples: &Examples,
    ) -> Result<Self, EvaluationError> {
        let targets = options.targets(batch);
        let scores = match &targets {
            Some(targets) => score(model, batch, targets),
            None => batch.sequences.iter().map(|_| Score::default()).collect(),
        };
        let scored = batch.sequences.iter().zip(scores);
        let sequences = scored.map(|(sequence, score)| finish(examples, sequence, score));
        Ok(Self {
            number,
            positions: targets.map_or(0, |_| batch.positions() as u64),
            sequences: sequences.collect::<Result<_, _>>()?,
        })
    }
}

/// What a forward pass gives for one sequence; nothing where it was not computed.
#[derive(Default)]
struct Score {
    losses: LossTotals,
    /// `[vocab]` at the answer position, if it is a question.
    logits: Option<Vec<f32>>,
}

/// The scores of a batch's sequences. Only these targets are computed.
fn score(model: &Llama, batch: &Batch, targets: &WeightedTargets) -> Vec<Score> {
    let hidden = model.forward(batch, &targets.rows, None);
    let lm_head = model.lm_head();
    let chunk = default_chunk(&hidden.device());
    let losses = linear_cross_entropy(hidden.clone(), lm_head.clone(), targets, chunk);
    let losses = floats(losses.target_losses);
    let answer_rows: Vec<Option<usize>> = batch
        .sequences
        .iter()
        // An answer is a completion token, and has a weight unless the data gives it 0.
        .map(|s| {
            s.answer
                .as_ref()
                .and_then(|answer| targets.rows.binary_search(&answer.position).ok())
        })
        .collect();
    let mut logits = answer_logits(hidden, lm_head, &answer_rows).into_iter();
    let per_sequence = LossTotals::of_sequences(batch, targets, &losses);
    per_sequence
        .into_iter()
        .zip(answer_rows)
        .map(|(losses, row)| Score {
            losses,
            logits: row.and_then(|_| logits.next()),
        })
        .collect()
}

/// `[vocab]` for every sequence that has a row.
fn answer_logits(hidden: Tensor<2>, lm_head: Tensor<2>, rows: &[Option<usize>]) -> Vec<Vec<f32>> {
    let rows: Vec<i64> = rows.iter().flatten().map(|&row| row as i64).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let count = rows.len();
    let index = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &hidden.device());
    let logits = plw_loss::logits(hidden.select(0, index), lm_head);
    let vocab = logits.dims()[1];
    floats(logits).chunks(vocab).map(<[f32]>::to_vec).collect()
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let count = tensor.shape().num_elements();
    Readback::new(vec![tensor.reshape([count])]).wait().concat()
}

/// The score of one sequence for the others to know.
fn finish(
    examples: &Examples,
    sequence: &SequenceInfo,
    score: Score,
) -> Result<SequenceScore, EvaluationError> {
    let means = score.losses.means();
    let logits = score.logits.unwrap_or_default();
    if logits.iter().any(|logit| !logit.is_finite()) {
        let (file, row) = place(examples, sequence.example);
        return Err(EvaluationError::NotFinite { file, row });
    }
    let losses = [means.prompt, means.completion];
    if losses.into_iter().flatten().any(|loss| !loss.is_finite()) {
        let (file, row) = place(examples, sequence.example);
        return Err(EvaluationError::LossNotFinite { file, row });
    }
    let answer = sequence.answer.as_ref().filter(|_| !logits.is_empty());
    let options = answer.map(|answer| {
        let tokens = answer.option_tokens.iter();
        OptionScore {
            logits: tokens.map(|&token| logits[token as usize]).collect(),
            argmax_is_answer: first_maximum(&logits) == answer.token() as usize,
        }
    });
    Ok(SequenceScore {
        example: sequence.example,
        losses: score.losses,
        options,
        completion_tokens: sequence.completion_targets.count,
    })
}

impl SequenceScore {
    /// The example's row of the predictions.
    pub(crate) fn into_row(self, examples: &Examples) -> PredictionRow {
        let key = examples.key(self.example);
        let means = self.losses.means();
        let options = self.options;
        let choice = options
            .as_ref()
            .map(|o| option_letter(first_maximum(&o.logits)));
        PredictionRow {
            key: ExampleKey {
                answer: key.answer.filter(|_| options.is_some()),
                ..key.clone()
            },
            choice,
            argmax_is_answer: options.as_ref().is_some_and(|o| o.argmax_is_answer),
            logits: options.map(|o| o.logits).unwrap_or_default(),
            prompt_loss: means.prompt.map(|loss| loss as f32),
            completion_loss: means.completion.map(|loss| loss as f32),
            answer_loss: means.answer.map(|loss| loss as f32),
            completion_tokens: Some(u64::from(self.completion_tokens)),
        }
    }
}

/// Index of the largest value, of equals the first: the choice of Python's `max` and torch's
/// `argmax`.
fn first_maximum(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_chosen() {
        assert_eq!(first_maximum(&[0.0, 2.0, 2.0, 1.0]), 1);
        assert_eq!(first_maximum(&[-1.0]), 0);
    }
}
