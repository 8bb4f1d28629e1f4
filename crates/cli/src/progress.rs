//! The progress bar (the run, the step, tokens per second and the time left) and Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plw_record::{EvaluationRow, EvaluationSummary, MetricsRow};
use plw_report::printable;
use plw_train::{Beginning, Observer, Plan};

use crate::logging::shows_bars;
use crate::signals::{self, Stop};

/// The bar of an evaluation.
pub(crate) const EVALUATION: &str =
    "evaluation {pos}/{len} {wide_bar} {per_sec} examples, {eta} left";

/// Shows a run on a terminal. Elsewhere it logs a line for each tenth of the run.
pub(crate) struct Progress {
    name: String,
    steps: ProgressBar,
    evaluation: Option<ProgressBar>,
    total: u64,
    /// The exit code of the first request to stop. 0 without one.
    stop: Arc<AtomicU8>,
}

impl Progress {
    /// The progress of a named run. The first signal stops at a checkpoint, the second at once. Of
    /// several processes the first, of rank 0, says so.
    pub(crate) fn new(name: String, rank: usize) -> Self {
        let stop = Arc::new(AtomicU8::new(0));
        let asked = stop.clone();
        let watched = signals::watch(move |request| {
            let code = request.exit_code();
            if asked.swap(code, Ordering::SeqCst) != 0 {
                std::process::exit(code.into());
            }
            let again = match request {
                Stop::Interrupt => "press Ctrl-C again",
                Stop::Hangup | Stop::Termination => "send the signal again",
            };
            if rank == 0 {
                tracing::warn!("stopping at a checkpoint; {again} to stop at once");
            }
        });
        if let Err(error) = watched {
            tracing::warn!("Ctrl-C will stop at once, not at a checkpoint: {error}");
        }
        Self {
            name,
            steps: ProgressBar::hidden(),
            evaluation: None,
            total: 0,
            stop,
        }
    }

    fn log_accuracy(&self, row: &EvaluationRow) {
        let accuracy = &row.summary.accuracy;
        let [low, high] = accuracy.accuracy_interval;
        tracing::info!(
            run = self.name.as_str(),
            step = row.step,
            split = row.split.as_str(),
            accuracy = accuracy.accuracy,
            accuracy_low = low,
            accuracy_high = high,
            questions = accuracy.questions,
            "{} step {} {}: accuracy {:.1} % (95 % interval {:.1} to {:.1}, {} questions)",
            self.name,
            row.step,
            row.split,
            100.0 * accuracy.accuracy,
            100.0 * low,
            100.0 * high,
            accuracy.questions
        );
    }

    fn log_losses(&self, row: &EvaluationRow) {
        let summary = &row.summary;
        tracing::info!(
            run = self.name.as_str(),
            step = row.step,
            split = row.split.as_str(),
            completion_loss = summary.completion_loss,
            perplexity = summary.perplexity,
            examples = summary.examples,
            unscored_examples = summary.unscored_examples,
            "{} step {} {}: {}",
            self.name,
            row.step,
            row.split,
            losses(summary)
        );
    }

    /// What a run that was stopped exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        self.stop.load(Ordering::SeqCst)
    }
}

/// An evaluation's loss on all its examples: `12 examples, completion loss 1.234, perplexity 3.43`.
pub(crate) fn losses(summary: &EvaluationSummary) -> String {
    let examples = summary.examples;
    let mut text = match (summary.completion_loss, summary.perplexity) {
        (Some(loss), Some(perplexity)) => {
            format!("{examples} examples, completion loss {loss:.3}, perplexity {perplexity:.2}")
        }
        (Some(loss), None) => format!("{examples} examples, completion loss {loss:.3}"),
        (None, _) => format!("{examples} examples, without a completion loss"),
    };
    if summary.unscored_examples > 0 {
        text.push_str(&format!(
            " ({} without a completion token that counts)",
            summary.unscored_examples
        ));
    }
    text
}

/// A bar on standard error where that is a terminal.
pub(crate) fn bar(total: u64, template: &str) -> ProgressBar {
    styled(Some(total), template)
}

/// Counts the rows of a source while they are read and tokenized; elsewhere than on a terminal it
/// logs that this begins.
pub(crate) fn reading(source: &str) -> ProgressBar {
    if !shows_bars() {
        tracing::info!(source, "{source}: tokenizing");
    }
    styled(None, "{prefix}: tokenizing, {human_pos} rows, {per_sec}").with_prefix(printable(source))
}

fn styled(total: Option<u64>, template: &str) -> ProgressBar {
    let target = match shows_bars() {
        true => ProgressDrawTarget::stderr_with_hz(4),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template(template).expect("the templates are constants");
    ProgressBar::with_draw_target(total, target).with_style(style)
}

impl Observer for Progress {
    fn started(&mut self, plan: &Plan<'_>, beginning: Beginning) {
        self.total = plan.total_steps;
        let (name, now) = (&self.name, self.total);
        match beginning {
            Beginning::New => {}
            Beginning::WithoutCheckpoint => {
                tracing::info!("{name} has no checkpoint yet: starting over");
            }
            Beginning::Checkpoint { step, total_steps } if total_steps == now => {
                tracing::info!("{name} resumed at step {step} of {now}");
            }
            Beginning::Checkpoint { step, total_steps } => tracing::info!(
                "{name} resumed at step {step}, with {now} steps instead of {total_steps}: the \
                 learning rates of the steps taken are those of a run of {now} steps, so its \
                 result is the same"
            ),
        }
        let template = "{prefix} step {pos}/{len} {wide_bar} {msg}, {eta} left";
        self.steps = bar(self.total, template)
            .with_prefix(printable(&self.name))
            .with_position(beginning.step());
        self.steps.reset_eta();
    }

    fn warned(&mut self, message: &str) {
        tracing::warn!("{message}");
    }

    fn stepped(&mut self, row: &MetricsRow) {
        let speed = row.tokens as f64 / row.seconds;
        self.steps.set_position(row.step);
        self.steps
            .set_message(format!("loss {:.4}, {speed:.0} tokens/s", row.loss));
        let tenth = (self.total / 10).max(1);
        if !shows_bars() && (row.step.is_multiple_of(tenth) || row.step == self.total) {
            tracing::info!(
                run = self.name.as_str(),
                step = row.step,
                steps = self.total,
                loss = row.loss,
                grad_norm = row.grad_norm,
                learning_rate = row.learning_rate,
                tokens_per_second = speed,
                "{} step {}/{}: loss {:.4}, {speed:.0} tokens/s",
                self.name,
                row.step,
                self.total,
                row.loss
            );
        }
        if row.step == self.total {
            self.steps.finish_and_clear();
        }
    }

    fn evaluating(&mut self, done: usize, total: usize) {
        let evaluation = self
            .evaluation
            .get_or_insert_with(|| bar(total as u64, EVALUATION));
        evaluation.set_position(done as u64);
    }

    fn evaluated(&mut self, row: &EvaluationRow) {
        if let Some(evaluation) = self.evaluation.take() {
            evaluation.finish_and_clear();
        }
        self.steps.suspend(|| match row.summary.accuracy.questions {
            0 => self.log_losses(row),
            questions => {
                self.log_accuracy(row);
                if row.summary.examples > questions {
                    self.log_losses(row);
                }
            }
        });
    }

    fn should_stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_in_a_line() {
        let summary = |completion_loss: Option<f64>, unscored_examples| EvaluationSummary {
            examples: 12,
            unscored_examples,
            completion_loss,
            perplexity: completion_loss.map(f64::exp),
            ..EvaluationSummary::default()
        };
        for (summary, line) in [
            (
                summary(Some(1.234), 0),
                "12 examples, completion loss 1.234, perplexity 3.43",
            ),
            (
                summary(Some(1.234), 2),
                "12 examples, completion loss 1.234, perplexity 3.43 \
                 (2 without a completion token that counts)",
            ),
            (
                summary(None, 12),
                "12 examples, without a completion loss \
                 (12 without a completion token that counts)",
            ),
        ] {
            assert_eq!(losses(&summary), line);
        }
    }
}
