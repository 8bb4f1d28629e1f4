//! What a forward pass tells of its sequences.

use burn::tensor::{FloatDType, Tensor};
use plw_batch::{Batch, ExampleKey, Examples, SequenceInfo, option_letter};
use plw_kernels::{AnswerLogits, AnswerTable, Readback, answer_logits, has_queue};
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

/// Computes batches of one evaluation.
pub(crate) struct Scorer<'a> {
    pub(crate) model: &'a Llama,
    /// In the type of the activations: rounded once, and not in every batch.
    lm_head: Tensor<2>,
    pub(crate) options: &'a EvaluationOptions,
    /// How many batches are queued before the results of the first are read. A device that works on
    /// its own has then something to do while this program waits for them and lays out the next.
    pub(crate) batches_ahead: usize,
}

/// A batch that was queued on the device, which has yet to tell what it comes to.
pub(crate) struct QueuedBatch {
    number: u32,
    batch: Batch,
    /// None if nothing of it counts: then it is not computed.
    pass: Option<QueuedPass>,
}

/// A forward pass on the device.
struct QueuedPass {
    targets: WeightedTargets,
    answers: AnswerTable,
    /// `[sequences]`: whether the next answer of the table is the sequence's.
    is_answered: Vec<bool>,
    /// The losses of the targets, then, if there are answers, their logits.
    values: Readback,
}

impl<'a> Scorer<'a> {
    pub(crate) fn new(model: &'a Llama, options: &'a EvaluationOptions) -> Self {
        let lm_head = match model.activations() {
            FloatDType::F32 => model.lm_head(),
            half => model.lm_head().cast(half),
        };
        Self {
            model,
            batches_ahead: usize::from(has_queue(&lm_head.device())),
            lm_head,
            options,
        }
    }

    /// Queues a batch. It does not wait for the device.
    pub(crate) fn queue(&self, number: u32, batch: Batch) -> QueuedBatch {
        let targets = self.options.targets(&batch);
        let pass = targets.map(|targets| self.pass(&batch, targets));
        QueuedBatch {
            number,
            batch,
            pass,
        }
    }

    /// The pass of a batch. Only these targets are computed.
    fn pass(&self, batch: &Batch, targets: WeightedTargets) -> QueuedPass {
        let hidden = self.model.forward(batch, &targets.rows, None);
        let chunk = default_chunk(&hidden.device(), false);
        let lm_head = || self.lm_head.clone();
        let losses = linear_cross_entropy(hidden.clone(), lm_head(), &targets, chunk);
        let mut values = vec![losses.target_losses];
        let mut answers = AnswerTable::default();
        let mut is_answered = Vec::with_capacity(batch.sequences.len());
        for sequence in &batch.sequences {
            // An answer is a completion token, and has a weight unless the data gives it 0.
            let answer = sequence.answer.as_ref().and_then(|answer| {
                let row = targets.rows.binary_search(&answer.position).ok()?;
                Some((row, answer))
            });
            is_answered.push(answer.is_some());
            if let Some((row, answer)) = answer {
                answers.push(row as u32, &answer.option_tokens, answer.correct as usize);
            }
        }
        if !answers.is_empty() {
            values.push(answer_logits(hidden, lm_head(), &answers));
        }
        QueuedPass {
            targets,
            answers,
            is_answered,
            values: Readback::new(values),
        }
    }
}

impl QueuedBatch {
    /// Waits for the device.
    ///
    /// # Errors
    ///
    /// If a logit or a loss is not finite.
    pub(crate) fn wait(self, examples: &Examples) -> Result<BatchScore, EvaluationError> {
        let batch = self.batch;
        let positions = self.pass.as_ref().map_or(0, |_| batch.positions() as u64);
        let scores = match self.pass {
            Some(pass) => pass.wait(&batch),
            None => batch.sequences.iter().map(|_| Score::default()).collect(),
        };
        let scored = batch.sequences.iter().zip(scores);
        let sequences = scored.map(|(sequence, score)| finish(examples, sequence, score));
        Ok(BatchScore {
            number: self.number,
            positions,
            sequences: sequences.collect::<Result<_, _>>()?,
        })
    }
}

/// What a forward pass gives for one sequence; nothing where it was not computed.
#[derive(Default)]
struct Score {
    losses: LossTotals,
    /// At the answer position, if it is a question.
    logits: Option<AnswerLogits>,
}

impl QueuedPass {
    /// The scores of the batch's sequences.
    fn wait(self, batch: &Batch) -> Vec<Score> {
        let mut values = self.values.wait().into_iter();
        let losses = values.next().expect("the losses come first");
        let logits = values.next().map(|values| self.answers.of_values(&values));
        let mut logits = logits.into_iter().flatten();
        LossTotals::of_sequences(batch, &self.targets, &losses)
            .into_iter()
            .zip(self.is_answered)
            .map(|(losses, is_answered)| Score {
                losses,
                logits: is_answered.then(|| logits.next()).flatten(),
            })
            .collect()
    }
}

/// The score of one sequence for the others to know.
fn finish(
    examples: &Examples,
    sequence: &SequenceInfo,
    score: Score,
) -> Result<SequenceScore, EvaluationError> {
    let means = score.losses.means();
    if score
        .logits
        .as_ref()
        .is_some_and(|logits| !logits.is_finite)
    {
        let (file, row) = place(examples, sequence.example);
        return Err(EvaluationError::NotFinite { file, row });
    }
    let losses = [means.prompt, means.completion];
    if losses.into_iter().flatten().any(|loss| !loss.is_finite()) {
        let (file, row) = place(examples, sequence.example);
        return Err(EvaluationError::LossNotFinite { file, row });
    }
    Ok(SequenceScore {
        example: sequence.example,
        losses: score.losses,
        options: score.logits.map(|logits| OptionScore {
            logits: logits.options,
            argmax_is_answer: logits.is_greatest,
        }),
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
