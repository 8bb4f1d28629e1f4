//! The evaluations of a run: when they are due, and what they leave.

use std::ops::ControlFlow;

use burn::module::Module;
use plw_batch::Examples;
use plw_eval::evaluate;
use plw_model::Llama;
use plw_record::{EvaluationRow, RunLock, append_evaluation, write_predictions};

use crate::TrainError;
use crate::run::{Observer, Run};
use crate::trainer_state::TrainerState;

/// Whether the validation questions are to be evaluated now: before the first step, where the
/// settings say, and after the last, once each.
pub(crate) fn evaluation_due(run: &Run<'_>, state: &TrainerState, total_steps: u64) -> bool {
    let step = state.step;
    run.validation.is_some()
        && run.training.evaluates_after(step, total_steps)
        && state.last.as_ref().is_none_or(|last| last.step != step)
}

/// Evaluates on the validation questions, records the result and says whether it is the best so
/// far. None if the run was asked to stop meanwhile: nothing is recorded then.
pub(crate) fn evaluate_and_record(
    run: &Run<'_>,
    lock: &RunLock,
    model: &Llama,
    state: &mut TrainerState,
    observer: &mut dyn Observer,
) -> Result<Option<bool>, TrainError> {
    let Some(validation) = run.validation else {
        return Ok(Some(false));
    };
    let split = "validation";
    let row = evaluate_on(run, lock, model, validation, split, state.step, observer)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let improved = improves(&row, state.best.as_ref());
    if improved {
        state.best = Some(row.clone());
    }
    if state.initial.is_none() {
        state.initial = Some(row.clone());
    }
    state.last = Some(row);
    Ok(Some(improved))
}

/// Whether an evaluation is better than the best before it. Of equals the earliest is the best.
fn improves(row: &EvaluationRow, best: Option<&EvaluationRow>) -> bool {
    let accuracy = |row: &EvaluationRow| row.summary.accuracy.accuracy;
    best.is_none_or(|best| accuracy(row) > accuracy(best))
}

/// The best of a run's evaluations on the validation questions.
pub(crate) fn best_of(rows: &[EvaluationRow]) -> Option<&EvaluationRow> {
    rows.iter()
        .fold(None, |best, row| match improves(row, best) {
            true => Some(row),
            false => best,
        })
}

/// Evaluates on one split's questions and records the result. None if the run was asked to stop.
pub(crate) fn evaluate_on(
    run: &Run<'_>,
    lock: &RunLock,
    model: &Llama,
    examples: &Examples,
    split: &str,
    step: u64,
    observer: &mut dyn Observer,
) -> Result<Option<EvaluationRow>, TrainError> {
    let total = examples.len();
    let layout = run.batching.evaluation_layout();
    let mut progress = |done| {
        observer.evaluating(done, total);
        match observer.should_stop() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let evaluation = evaluate(
        &model.valid(),
        examples,
        &run.evaluation,
        layout,
        &mut progress,
    )?;
    let Some(evaluation) = evaluation else {
        return Ok(None);
    };
    lock.check()?;
    if !evaluation.predictions.is_empty() {
        write_predictions(
            run.directory.predictions_of(split, step),
            &evaluation.predictions,
        )?;
    }
    let row = EvaluationRow {
        step,
        split: split.to_string(),
        summary: evaluation.summary(),
    };
    append_evaluation(run.directory.evaluations(), &row)?;
    observer.evaluated(&row);
    Ok(Some(row))
}
