//! One pass over a data set: every example's losses, and a question's logits of its options.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use plw_batch::{Examples, Layout, Role};
use plw_loss::{LossTotals, MeanLosses, WeightError};
use plw_model::Llama;
use plw_record::{EvaluationSummary, PredictionRow, peak_memory_bytes};
use plw_transport::Transport;
use serde::{Deserialize, Serialize};

use crate::EvaluationError;
use crate::gathered::gathered;
use crate::pages;
use crate::passes::lay_out;
use crate::score::{BatchScore, Scorer};

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
/// examples. If it breaks off, the result is None. A GPU gets a batch before the results of the one
/// before it are read.
///
/// With [`Layout::SharedPrefixes`] examples go through the model group by group, and predictions
/// still come in the examples' order. Examples are never packed, so that [`Layout::CrossDocument`]
/// puts each in a row of its own. A batch of which no token has a loss weight is not computed.
///
/// Several processes share the batches, which are those of one process, so that their results have
/// the same bits. Each process gets all results, and none if the `progress` of one breaks off.
///
/// # Errors
///
/// If an example has a single token, so that nothing of it is predicted, if a token is outside the
/// model's vocabulary, if the model's logits or losses are not finite, or if another process has
/// ended.
pub fn evaluate(
    model: &Llama,
    examples: &Examples,
    options: &EvaluationOptions,
    layout: Layout,
    transport: &dyn Transport,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Evaluation>, EvaluationError> {
    let began = Instant::now();
    check_lengths(examples, options)?;
    check_tokens(examples, model.config().vocab_size())?;
    let scorer = Scorer::new(model, options);
    let scored = score_share(&scorer, examples, layout, transport, progress)?;
    let Some(batches) = gathered(transport, scored)? else {
        return Ok(None);
    };
    let mut totals = LossTotals::default();
    let mut predictions = Vec::with_capacity(examples.len());
    let mut tokens_computed = 0;
    for batch in batches {
        tokens_computed += batch.positions as usize;
        for score in batch.sequences {
            totals.merge(score.losses);
            predictions.push((score.example, score.into_row(examples)));
        }
    }
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

/// The scores of this process's batches. None if `progress` breaks off.
fn score_share(
    scorer: &Scorer<'_>,
    examples: &Examples,
    layout: Layout,
    transport: &dyn Transport,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Vec<BatchScore>>, EvaluationError> {
    let share = scorer.options.share(&examples.sequences, layout, transport);
    pages::prepare(
        scorer.model,
        scorer.options,
        &examples.sequences,
        &share,
        layout,
    );
    let total: usize = share.iter().map(|(_, numbers)| numbers.len()).sum();
    let mut scored: Vec<BatchScore> = Vec::with_capacity(share.len());
    let mut queue = VecDeque::new();
    let mut done = 0;
    for (number, members) in share {
        // The other processes are about as far.
        if progress(done * examples.len() / total).is_break() {
            return Ok(None);
        }
        let batch = lay_out(&examples.sequences, &members, layout);
        queue.push_back(scorer.queue(number, batch));
        if queue.len() > scorer.batches_ahead
            && let Some(first) = queue.pop_front()
        {
            let score = first.wait(examples)?;
            done += score.sequences.len();
            scored.push(score);
        }
    }
    for last in queue {
        scored.push(last.wait(examples)?);
    }
    // All is done: a request to stop changes nothing any more.
    let _ = progress(examples.len());
    Ok(Some(scored))
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
pub(crate) fn place(examples: &Examples, example: u32) -> (String, u64) {
    let key = examples.key(example);
    (key.file.to_string(), key.row)
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
mod tests;
