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

/// Whether the validation examples are to be evaluated now: before the first step, where the
/// settings say, and after the last, once each.
pub(crate) fn evaluation_due(run: &Run<'_>, state: &TrainerState, total_steps: u64) -> bool {
    let step = state.step;
    run.validation.is_some()
        && run.training.evaluates_after(step, total_steps)
        && state.last.as_ref().is_none_or(|last| last.step != step)
}

/// Evaluates on the validation examples, records the result and says whether it is the best so
/// far. None if the run was asked to stop meanwhile: nothing is recorded then.
pub(crate) fn evaluate_and_record(
    run: &Run<'_>,
    lock: Option<&RunLock>,
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

/// Whether an evaluation is better than the best before it: by its accuracy, or where the data
/// holds no question by its completion loss. Of equals the earliest is the best.
fn improves(row: &EvaluationRow, best: Option<&EvaluationRow>) -> bool {
    let Some(best) = best else {
        return true;
    };
    let (new, best) = (&row.summary, &best.summary);
    match new.accuracy.questions {
        0 => match (new.completion_loss, best.completion_loss) {
            (Some(new), Some(best)) => new < best,
            (new, None) => new.is_some(),
            (None, Some(_)) => false,
        },
        _ => new.accuracy.accuracy > best.accuracy.accuracy,
    }
}

/// The best of a run's evaluations on the validation examples.
pub(crate) fn best_of(rows: &[EvaluationRow]) -> Option<&EvaluationRow> {
    rows.iter()
        .fold(None, |best, row| match improves(row, best) {
            true => Some(row),
            false => best,
        })
}

/// Evaluates on one split's examples and records the result. None if the run was asked to stop.
pub(crate) fn evaluate_on(
    run: &Run<'_>,
    lock: Option<&RunLock>,
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
        run.transport,
        &mut progress,
    )?;
    let Some(evaluation) = evaluation else {
        return Ok(None);
    };
    let row = EvaluationRow {
        step,
        split: split.to_string(),
        summary: evaluation.summary(),
    };
    if let Some(lock) = lock {
        lock.check()?;
        if !evaluation.predictions.is_empty() {
            let path = run.directory.predictions_of(split, step);
            write_predictions(path, &evaluation.predictions)?;
        }
        append_evaluation(run.directory.evaluations(), &row)?;
    }
    observer.evaluated(&row);
    Ok(Some(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_record::{Accuracy, EvaluationSummary};

    fn row(step: u64, questions: u64, accuracy: f64, loss: Option<f64>) -> EvaluationRow {
        EvaluationRow {
            step,
            split: "validation".to_string(),
            summary: EvaluationSummary {
                accuracy: Accuracy {
                    questions,
                    accuracy,
                    ..Accuracy::default()
                },
                completion_loss: loss,
                ..EvaluationSummary::default()
            },
        }
    }

    #[test]
    fn the_best_is_that_of_the_questions_or_else_of_the_lowest_loss() {
        // Questions, then accuracy and completion loss of each evaluation; which is the best.
        type Case<'a> = (u64, &'a [(f64, Option<f64>)], u64);
        let cases: [Case; 5] = [
            (
                4,
                &[(0.5, Some(2.0)), (0.75, Some(3.0)), (0.75, Some(1.0))],
                1,
            ),
            (
                0,
                &[(0.0, Some(2.0)), (0.0, Some(1.5)), (0.0, Some(1.7))],
                1,
            ),
            (0, &[(0.0, Some(2.0)), (0.0, Some(2.0))], 0),
            (0, &[(0.0, None), (0.0, Some(9.0)), (0.0, None)], 1),
            (0, &[(0.0, None), (0.0, None)], 0),
        ];
        for (questions, evaluations, expected) in cases {
            let rows: Vec<EvaluationRow> = (0..)
                .zip(evaluations)
                .map(|(step, &(accuracy, loss))| row(step, questions, accuracy, loss))
                .collect();
            let best = best_of(&rows).map(|best| best.step);
            assert_eq!(best, Some(expected), "{evaluations:?}");
        }
        assert_eq!(best_of(&[]), None);
    }
}
