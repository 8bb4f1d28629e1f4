//! The progress bar (the run, the step, tokens per second and the time left) and Ctrl-C.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plw_record::{EvaluationRow, MetricsRow};
use plw_train::{Observer, Plan};

/// The bar of an evaluation.
pub(crate) const EVALUATION: &str =
    "evaluation {pos}/{len} {wide_bar} {per_sec} questions, {eta} left";

/// Shows a run on a terminal. Elsewhere it logs a line for each tenth of the run.
pub(crate) struct Progress {
    name: String,
    steps: ProgressBar,
    evaluation: Option<ProgressBar>,
    total: u64,
    stop: Arc<AtomicBool>,
}

impl Progress {
    /// The progress of a named run. The first Ctrl-C stops at a checkpoint, the second at once.
    pub(crate) fn new(name: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let handler = ctrlc::set_handler(move || {
            if asked.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            tracing::warn!("stopping at a checkpoint; press Ctrl-C again to stop at once");
        });
        if let Err(error) = handler {
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
}

/// A bar on standard error where that is a terminal.
pub(crate) fn bar(total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the templates are constants");
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4))
        .with_style(style)
}

impl Observer for Progress {
    fn started(&mut self, plan: &Plan<'_>, from_step: u64) {
        self.total = plan.total_steps;
        let template = "{prefix} step {pos}/{len} {wide_bar} {msg}, {eta} left";
        self.steps = bar(self.total, template)
            .with_prefix(self.name.clone())
            .with_position(from_step);
        self.steps.reset_eta();
    }

    fn stepped(&mut self, row: &MetricsRow) {
        let speed = row.tokens as f64 / row.seconds;
        self.steps.set_position(row.step);
        self.steps
            .set_message(format!("loss {:.4}, {speed:.0} tokens/s", row.loss));
        let tenth = (self.total / 10).max(1);
        if !std::io::stderr().is_terminal()
            && (row.step.is_multiple_of(tenth) || row.step == self.total)
        {
            tracing::info!(
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
        let accuracy = &row.summary.accuracy;
        let [low, high] = accuracy.accuracy_interval;
        self.steps.suspend(|| {
            tracing::info!(
                "{} step {} {}: accuracy {:.1} % (95 % interval {:.1} to {:.1}, {} questions)",
                self.name,
                row.step,
                row.split,
                100.0 * accuracy.accuracy,
                100.0 * low,
                100.0 * high,
                accuracy.questions
            );
        });
    }

    fn should_stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
