//! A run that is stopped and resumed ends with the same bits as one that is not.

use std::cell::Cell;
use std::path::Path;

use crate::cases::{Case, remains};
use plw_record::RunDirectory;
use plw_train::{Observer, Outcome, TrainError, TrainerState};

/// Stops during the evaluation of this number, from 1.
struct StopInEvaluation {
    evaluation: usize,
    started: Cell<usize>,
}

impl Observer for StopInEvaluation {
    fn evaluating(&mut self, done: usize, _total: usize) {
        if done == 0 {
            self.started.set(self.started.get() + 1);
        }
    }
    fn should_stop(&self) -> bool {
        self.started.get() == self.evaluation
    }
}

#[test]
fn resuming_continues_bit_for_bit() {
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let whole = folder.path().join("whole");
    assert!(matches!(
        case.train(&whole, false, u64::MAX),
        Ok(Outcome::Complete(_))
    ));
    let expected = remains(&whole);
    assert!(
        expected.0.first().map(|row| row.loss) > expected.0.last().map(|row| row.loss),
        "it learns"
    );
    for stop_after in [1, 3, 4, 7] {
        let parts = folder.path().join(format!("stopped-{stop_after}"));
        assert_eq!(
            case.train(&parts, false, stop_after).expect("stopped"),
            Outcome::Stopped { step: stop_after }
        );
        let refused = case.train(&parts, false, u64::MAX);
        assert!(
            matches!(refused, Err(TrainError::RunExists { .. })),
            "{refused:?}"
        );
        assert!(matches!(
            case.train(&parts, true, u64::MAX),
            Ok(Outcome::Complete(_))
        ));
        assert_eq!(remains(&parts), expected, "stopped after {stop_after}");
    }
    // A complete run is not run again, and another run is refused.
    assert!(matches!(
        case.train(&whole, true, u64::MAX),
        Ok(Outcome::Complete(_))
    ));
    let refused = Case::new(1e-3)
        .train(&whole, true, u64::MAX)
        .expect_err("other settings")
        .to_string();
    assert!(
        refused.contains("learning_rate was 0.01, is 0.001"),
        "{refused}"
    );
}

/// Stops from the question of this number on, from 1.
struct StopWhenAsked {
    number: usize,
    asked: Cell<usize>,
}

impl Observer for StopWhenAsked {
    fn should_stop(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.asked.get() >= self.number
    }
}

#[test]
fn a_step_that_was_given_up_between_its_micro_batches_is_taken_on_resume() {
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let whole = folder.path().join("whole");
    case.train(&whole, false, u64::MAX).expect("trained");
    let mut stopped_at = Vec::new();
    for number in 1.. {
        let parts = folder.path().join(format!("asked-{number}"));
        let mut stop = StopWhenAsked {
            number,
            asked: Cell::new(0),
        };
        match case.observed(&parts, false, &mut stop).expect("stopped") {
            Outcome::Stopped { step } => stopped_at.push(step),
            Outcome::Complete(_) => break,
        }
        case.train(&parts, true, u64::MAX).expect("resumed");
        assert_eq!(remains(&parts), remains(&whole), "asked {number} times");
    }
    // After a step without an evaluation it is asked once, and then in the next step.
    for step in [1, 2, 4, 5] {
        let times = stopped_at.iter().filter(|&&at| at == step).count();
        assert!(times > 1, "step {step} of {stopped_at:?}");
    }
}

#[test]
fn an_evaluation_that_is_stopped_is_done_on_resume() {
    let mut case = Case::new(1e-2);
    case.training.load_best_model_at_end = true;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let whole = folder.path().join("whole");
    case.train(&whole, false, u64::MAX).expect("trained");
    let evaluations = |directory: &Path| -> Vec<_> {
        plw_record::read_evaluations(RunDirectory::new(directory).evaluations())
            .expect("evaluations")
            .into_iter()
            .map(|row| (row.step, row.split, row.summary.answer_loss))
            .collect()
    };
    let evaluation_row = plw_record::read_evaluations(RunDirectory::new(&whole).evaluations())
        .expect("evaluations")
        .remove(0);
    // Before the first step, at steps 3, 6 and 8, and of the test questions.
    for (number, step) in [(1, 0), (2, 3), (3, 6), (4, 8), (5, 8)] {
        let parts = folder.path().join(format!("stopped-{number}"));
        let mut stop = StopInEvaluation {
            evaluation: number,
            started: Cell::new(0),
        };
        assert_eq!(
            case.observed(&parts, false, &mut stop).expect("stopped"),
            Outcome::Stopped { step }
        );
        assert_eq!(evaluations(&parts).len(), number - 1);
        // As a kill between an evaluation's row and the next checkpoint leaves it.
        let mut killed = evaluation_row.clone();
        killed.step = step;
        if number == 5 {
            killed.split = "test".to_string();
        }
        let log = RunDirectory::new(&parts).evaluations();
        plw_record::append_evaluation(log, &killed).expect("appended");
        assert!(matches!(
            case.train(&parts, true, u64::MAX),
            Ok(Outcome::Complete(_))
        ));
        assert_eq!(evaluations(&parts), evaluations(&whole), "{number}");
        // The last checkpoint knows of the last evaluation, as that of the uninterrupted run does.
        let state = RunDirectory::new(&parts)
            .checkpoints()
            .join("step-8/trainer_state/state.json");
        let state = std::fs::read(state).expect("saved");
        let state: TrainerState = serde_json::from_slice(&state).expect("a state");
        assert_eq!(state.last.map(|row| row.step), Some(8), "{number}");
        assert_eq!(remains(&parts), remains(&whole), "{number}");
    }
}

#[test]
fn a_damaged_best_checkpoint_says_what_to_do() {
    let mut case = Case::new(0.0);
    case.training.load_best_model_at_end = true;
    let folder = tempfile::tempdir().expect("a temporary directory");
    case.train(folder.path(), false, 4).expect("stopped");
    let best = RunDirectory::new(folder.path())
        .checkpoints()
        .join("step-0");
    std::fs::remove_dir_all(best).expect("the start was best");
    let error = case
        .train(folder.path(), true, u64::MAX)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("step-0: the best checkpoint") && error.contains("put it back"),
        "{error}"
    );
}

#[test]
fn the_best_step_is_tested_even_where_it_is_the_start() {
    // Nothing is learned, so that no step is better than the start.
    let mut case = Case::new(0.0);
    case.training.load_best_model_at_end = true;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let directory = folder.path().join("run");
    let stopped = case.train(&directory, false, 1).expect("stopped");
    assert_eq!(stopped, Outcome::Stopped { step: 1 });
    let Ok(Outcome::Complete(summary)) = case.train(&directory, true, u64::MAX) else {
        panic!("it completes")
    };
    assert_eq!(summary.best.map(|row| row.step), Some(0));
    assert_eq!(summary.test.map(|row| row.step), Some(0));
    let rows = plw_record::read_evaluations(RunDirectory::new(&directory).evaluations());
    let places: Vec<_> = rows
        .expect("evaluations")
        .into_iter()
        .map(|row| (row.step, row.split))
        .collect();
    let validation = [0, 3, 6, 8].map(|step| (step, "validation".to_string()));
    assert_eq!(places[..4], validation);
    assert_eq!(places[4..], [(0, "test".to_string())]);
}
