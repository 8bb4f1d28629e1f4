//! Whether a run may become longer or shorter than it was to be.
//!
//! The steps that were taken must be those that a run of the new length takes. A plan's steps do
//! not depend on how many follow, but the learning rate does under most schedules.

use crate::TrainError;
use crate::run::Run;
use crate::trainer_state::TrainerState;

/// The optimizer steps of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    /// When the checkpoint was written. 0 if that is not known.
    pub(crate) former: u64,
    /// As the settings say now.
    pub(crate) now: u64,
}

impl Length {
    /// The step of a checkpoint that was the run's last one, and is so no more.
    pub(crate) fn former_end(self, step: u64) -> Option<u64> {
        (step == self.former && self.former != self.now).then_some(step)
    }
}

/// Checks that a run may continue from a checkpoint to its length.
///
/// # Errors
///
/// If the result would differ from that of an uninterrupted run of this length.
pub(crate) fn check_length(
    run: &Run<'_>,
    state: &TrainerState,
    length: Length,
) -> Result<(), TrainError> {
    let Length { former, now } = length;
    let taken = state.step;
    let refused = |reason: String| {
        Err(TrainError::Length {
            path: run.directory.path.clone(),
            steps: now,
            reason,
        })
    };
    if taken > now || (taken == now && former != now) {
        return refused(format!(
            "its checkpoint is of step {taken}; give more steps, or choose another --output-dir"
        ));
    }
    if former == now {
        return Ok(());
    }
    if former == 0 {
        return refused(
            "its checkpoint is of an earlier version of plw, which did not write down how many \
             steps the run was to have; resume with the same max_steps and num_train_epochs"
                .to_string(),
        );
    }
    let [before, after] = [former, now].map(|steps| run.training.schedule(steps));
    let rates = |step| (before.learning_rate(step), after.learning_rate(step));
    let changed = (1..=taken).find(|&step| rates(step).0 != rates(step).1);
    if let Some(step) = changed {
        let (before, after) = rates(step);
        return refused(format!(
            "step {step} was taken with the learning rate {before:?} of a run of {former} steps, \
             and a run of {now} takes it with {after:?}; a run can change its length under \
             lr_scheduler_type = \"constant_with_warmup\" with warmup_steps, and else needs \
             another --output-dir"
        ));
    }
    let best = state.best.as_ref().map(|row| row.step);
    if run.training.load_best_model_at_end
        && length.former_end(taken).is_some()
        && best == Some(taken)
        && !run.training.evaluates_after(taken, now)
    {
        return refused(format!(
            "its best model is that of step {taken}, its former last one, which a run of {now} \
             steps does not evaluate (eval_steps); choose another --output-dir"
        ));
    }
    Ok(())
}
