//! What a run with a lease tells others, and is told by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plw_record::{EvaluationRow, MetricsRow};
use plw_sweep::{Lease, SharedProgress};
use plw_train::{Beginning, Observer, Plan};

use crate::progress::Progress;

/// Shows a run, tells its progress to those who look at the sweep, and stops when another worker
/// has taken it over.
pub(super) struct Leased {
    progress: Progress,
    told: SharedProgress,
    is_superseded: Arc<AtomicBool>,
    seconds_per_step: Option<f64>,
}

impl Leased {
    pub(super) fn new(progress: Progress, lease: &Lease) -> Self {
        Self {
            progress,
            told: lease.progress(),
            is_superseded: lease.superseded(),
            seconds_per_step: None,
        }
    }

    pub(super) fn is_superseded(&self) -> bool {
        self.is_superseded.load(Ordering::SeqCst)
    }
}

/// What the last step counts for in the average of a step's seconds.
const LAST_STEP: f64 = 0.1;

impl Observer for Leased {
    fn started(&mut self, plan: &Plan<'_>, beginning: Beginning) {
        self.told.update(|told| {
            told.phase = "training".to_string();
            (told.step, told.total_steps) = (beginning.step(), plan.total_steps);
        });
        self.progress.started(plan, beginning);
    }

    fn warned(&mut self, message: &str) {
        self.progress.warned(message);
    }

    fn stepped(&mut self, row: &MetricsRow) {
        let average = self.seconds_per_step.map_or(row.seconds, |average| {
            average + LAST_STEP * (row.seconds - average)
        });
        self.seconds_per_step = Some(average);
        self.told.update(|told| {
            told.step = row.step;
            told.seconds_per_step = Some(average);
        });
        self.progress.stepped(row);
    }

    fn evaluating(&mut self, done: usize, total: usize) {
        self.told
            .update(|told| told.phase = "evaluating".to_string());
        self.progress.evaluating(done, total);
    }

    fn evaluated(&mut self, row: &EvaluationRow) {
        self.told.update(|told| told.phase = "training".to_string());
        self.progress.evaluated(row);
    }

    fn should_stop(&self) -> bool {
        self.is_superseded() || self.progress.should_stop()
    }
}
