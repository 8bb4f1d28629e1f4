//! One pass over a data set: every example's losses, and a question's logits of its options.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::tensor::{Int, Tensor, TensorData};
use plw_batch::{Batch, ExampleKey, Examples, Layout, Role, SequenceInfo, option_letter};
use plw_kernels::Readback;
use plw_loss::{
    LossTotals, MeanLosses, WeightError, WeightedTargets, default_chunk, linear_cross_entropy,
};
use plw_model::Llama;
use plw_record::{EvaluationSummary, PredictionRow, peak_memory_bytes};
use serde::{Deserialize, Serialize};

/// Why a model cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// Nothing of an example is predicted.
    #[error("{file} row {row}: {cause}")]
    Weight {
        /// The example's file.
        file: String,
        /// Its row there.
        row: u64,
        /// Why.
        cause: WeightError,
    },
    /// A token has no embedding, and no logit.
    #[error(
        "{file} row {row}: token {token} is outside the model's vocabulary of {vocabulary} tokens; \
         give the tokenizer that the model was trained with"
    )]
    UnknownToken {
        /// The example's file.
        file: String,
        /// Its row there.
        row: u64,
        /// The token: one of the example's, or one that an option would put in the answer's place.
        token: u32,
        /// Number of tokens that the model knows.
        vocabulary: usize,
    },
    /// No option can be chosen among such logits.
    #[error(
        "the model's logits are not finite at the answer of {file} row {row}: \
         its weights are damaged, or its training diverged"
    )]
    NotFinite {
        /// The question's file.
        file: String,
        /// Its row there.
        row: u64,
    },
    /// A mean over such losses says nothing.
    #[error(
        "the model's loss on {file} row {row} is not finite: \
         its weights are damaged, or its training diverged"
    )]
    LossNotFinite {
        /// The example's file.
        file: String,
        /// Its row there.
        row: u64,
    },
}

/// How to evaluate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvaluationOptions {
    /// Sequences of a forward pass.
    pub per_device_eval_batch_size: NonZeroUsize,
    /// Whether to compute the prompts' loss, which costs the lm_head on every prompt token.
    pub prompt_loss: bool,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        const SEQUENCES: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not zero");
        Self {
            per_device_eval_batch_size: SEQUENCES,
            prompt_loss: false,
        }
    }
}

/// What an evaluation found.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// One row per example, in the order of the examples.
    pub predictions: Vec<PredictionRow>,
    /// Means over all examples.
    pub losses: MeanLosses,
    /// Tokens of all examples. A shared token counts once for each of its sequences.
    pub tokens: usize,
    /// Positions that forward passes computed.
    pub tokens_computed: usize,
    /// How the sequences of a forward pass were laid out.
    pub layout: Layout,
    /// Examples left out for their length.
    pub dropped_examples: u64,
    /// Bad rows left out.
    pub skipped_rows: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Evaluates a model without autodiff (`model.valid()`). `progress` receives the number of finished
/// examples. If it breaks off, the result is None.
///
/// With [`Layout::SharedPrefixes`] examples go through the model group by group, and predictions
/// still come in the examples' order. Examples are never packed, so that [`Layout::CrossDocument`]
/// puts each in a row of its own. A batch of which no token has a loss weight is not computed.
///
/// # Errors
///
/// If an example has a single token, so that nothing of it is predicted, if a token is outside the
/// model's vocabulary, or if the model's logits or losses are not finite.
pub fn evaluate(
    model: &Llama,
    examples: &Examples,
    options: &EvaluationOptions,
    layout: Layout,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Evaluation>, EvaluationError> {
    let began = Instant::now();
    check_lengths(examples, options)?;
    check_tokens(examples, model.config().vocab_size())?;
    let mut totals = LossTotals::default();
    let mut predictions = Vec::with_capacity(examples.len());
    let (mut done, mut tokens_computed) = (0, 0);
    for batch in options.batches(&examples.sequences, layout) {
        if progress(done).is_break() {
            return Ok(None);
        }
        let scores = match options.targets(&batch) {
            Some(targets) => {
                tokens_computed += batch.positions();
                score(model, &batch, &targets)
            }
            None => batch.sequences.iter().map(|_| Score::default()).collect(),
        };
        for (sequence, score) in batch.sequences.iter().zip(scores) {
            totals.merge(score.losses);
            predictions.push((sequence.example, predict(examples, sequence, score)?));
        }
        done += batch.sequences.len();
    }
    // All is done: a request to stop changes nothing any more.
    let _ = progress(done);
    predictions.sort_by_key(|(example, _)| *example);
    Ok(Some(Evaluation {
        predictions: predictions.into_iter().map(|(_, row)| row).collect(),
        losses: totals.means(),
        tokens: examples.sequences.tokens() as usize,
        tokens_computed,
        layout,
        dropped_examples: examples.dropped.len() as u64,
        skipped_rows: examples.skipped_rows,
        elapsed: began.elapsed(),
    }))
}

/// Checks that something of every example is predicted, whatever its weight.
///
/// # Errors
///
/// [`EvaluationError::Weight`], for the first example of a single token.
pub fn check_lengths(
    examples: &Examples,
    options: &EvaluationOptions,
) -> Result<(), EvaluationError> {
    let sequences = &examples.sequences;
    let mut numbers = 0..sequences.len() as u32;
    match numbers.find(|&number| sequences.length(number) < 2) {
        None => Ok(()),
        Some(number) => {
            let (file, row) = place(examples, sequences.get(number).example);
            let weights = options.weights();
            let cause = WeightError::NothingCounts {
                sequences: 1,
                prompt: weights.of(Role::Prompt),
                completion: weights.of(Role::Completion),
            };
            Err(EvaluationError::Weight { file, row, cause })
        }
    }
}

/// Checks that a model of `vocabulary` tokens knows every token of these examples and of the
/// options of their answers.
///
/// # Errors
///
/// [`EvaluationError::UnknownToken`], for the first example with such a token.
pub fn check_tokens(examples: &Examples, vocabulary: usize) -> Result<(), EvaluationError> {
    let largest = examples.sequences.largest_token();
    if largest.is_none_or(|token| (token as usize) < vocabulary) {
        return Ok(());
    }
    for sequence in examples.sequences.iter() {
        let options = sequence
            .answer
            .iter()
            .flat_map(|answer| &answer.option_tokens);
        let mut tokens = sequence.token_ids.iter().chain(options);
        if let Some(&token) = tokens.find(|&&token| token as usize >= vocabulary) {
            let (file, row) = place(examples, sequence.example);
            return Err(EvaluationError::UnknownToken {
                file,
                row,
                token,
                vocabulary,
            });
        }
    }
    Ok(())
}

/// The file and the row of an example.
fn place(examples: &Examples, example: u32) -> (String, u64) {
    let key = examples.key(example);
    (key.file.to_string(), key.row)
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

fn predict(
    examples: &Examples,
    sequence: &SequenceInfo,
    score: Score,
) -> Result<PredictionRow, EvaluationError> {
    let key = examples.key(sequence.example);
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
    let of_options = answer.map(|answer| {
        let tokens = answer.option_tokens.iter();
        tokens
            .map(|&token| logits[token as usize])
            .collect::<Vec<f32>>()
    });
    Ok(PredictionRow {
        key: ExampleKey {
            answer: key.answer.filter(|_| answer.is_some()),
            ..key.clone()
        },
        choice: of_options
            .as_deref()
            .map(|logits| option_letter(first_maximum(logits))),
        argmax_is_answer: answer
            .is_some_and(|answer| first_maximum(&logits) == answer.token() as usize),
        logits: of_options.unwrap_or_default(),
        prompt_loss: means.prompt.map(|loss| loss as f32),
        completion_loss: means.completion.map(|loss| loss as f32),
        answer_loss: means.answer.map(|loss| loss as f32),
        completion_tokens: Some(u64::from(sequence.completion_targets.count)),
    })
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

impl Evaluation {
    /// Accuracy over all questions and by level, losses over all examples, and speed.
    pub fn summary(&self) -> EvaluationSummary {
        let seconds = self.elapsed.as_secs_f64();
        let of = EvaluationSummary::of(&self.predictions);
        let perplexity = self.losses.completion.map(f64::exp);
        EvaluationSummary {
            dropped_examples: self.dropped_examples,
            skipped_rows: self.skipped_rows,
            prompt_loss: self.losses.prompt,
            completion_loss: self.losses.completion,
            perplexity: perplexity.filter(|perplexity| perplexity.is_finite()),
            answer_loss: self.losses.answer,
            tokens: self.tokens as u64,
            tokens_computed: self.tokens_computed as u64,
            share_prefixes: self.layout == Layout::SharedPrefixes,
            tokens_per_second: self.tokens as f64 / seconds,
            questions_per_second: of.accuracy.questions as f64 / seconds,
            examples_per_second: of.examples as f64 / seconds,
            peak_memory_bytes: peak_memory_bytes(),
            seconds,
            ..of
        }
    }
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
