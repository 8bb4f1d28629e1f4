//! The evaluations of a run: when they are due, and what they leave.

use std::ops::ControlFlow;

use burn::module::Module;
use plw_batch::Examples;
use plw_eval::evaluate;
use plw_model::Llama;
use plw_record::{EvaluationRow, append_evaluation, write_predictions};

use crate::TrainError;
use crate::checkpoint::TrainerState;
use crate::run::{Observer, Run};

/// Whether something that is due every `every` steps, and after the last, is due after `step`.
pub(crate) fn is_due(every: Option<u64>, step: u64, total_steps: u64) -> bool {
    step == total_steps || every.is_some_and(|every| step.is_multiple_of(every))
}

/// Whether the validation questions are to be evaluated now: before the first step, where the
/// settings say, and after the last, once each.
pub(crate) fn evaluation_due(run: &Run<'_>, state: &TrainerState, total_steps: u64) -> bool {
    let step = state.step;
    run.validation.is_some()
        && (step == 0 || is_due(run.training.eval_steps, step, total_steps))
        && state.last.as_ref().is_none_or(|last| last.step != step)
}

/// Evaluates on the validation questions, records the result and says whether it is the best so
/// far. None if the run was asked to stop meanwhile: nothing is recorded then.
pub(crate) fn evaluate_and_record(
    run: &Run<'_>,
    model: &Llama,
    state: &mut TrainerState,
    observer: &mut dyn Observer,
) -> Result<Option<bool>, TrainError> {
    let Some(validation) = run.validation else {
        return Ok(Some(false));
    };
    let Some(row) = evaluate_on(run, model, validation, "validation", state.step, observer)? else {
        return Ok(None);
    };
    let accuracy = |row: &EvaluationRow| row.summary.accuracy.accuracy;
    let improved = state
        .best
        .as_ref()
        .is_none_or(|best| accuracy(&row) > accuracy(best));
    if improved {
        state.best = Some(row.clone());
    }
    if state.initial.is_none() {
        state.initial = Some(row.clone());
    }
    state.last = Some(row);
    Ok(Some(improved))
}

/// Evaluates on one split's questions and records the result. None if the run was asked to stop.
pub(crate) fn evaluate_on(
    run: &Run<'_>,
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
