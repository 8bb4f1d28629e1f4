//! A run that is stopped and resumed ends with the same bits as one that is not.

use std::cell::Cell;
use std::path::Path;

use crate::cases::{random_examples, tiny_llama};
use burn::tensor::Device;
use plw_batch::Examples;
use plw_eval::EvaluationOptions;
use plw_record::{MetricsRow, RunConfig, RunDirectory};
use plw_train::{
    BatchingArguments, LossArguments, Observer, Outcome, Run, TrainError, TrainingArguments, train,
};

struct StopAfter(u64, u64);

impl Observer for StopAfter {
    fn stepped(&mut self, row: &MetricsRow) {
        self.1 = row.step;
    }
    fn should_stop(&self) -> bool {
        self.1 >= self.0
    }
}

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

struct Case {
    training: TrainingArguments,
    examples: Examples,
}

impl Case {
    fn new(learning_rate: f64) -> Self {
        let training = TrainingArguments {
            learning_rate,
            per_device_train_batch_size: 2,
            gradient_accumulation_steps: 2,
            max_steps: Some(8),
            eval_steps: Some(3),
            save_steps: Some(2),
            warmup_steps: 2,
            seed: 11,
            ..TrainingArguments::default()
        };
        Self {
            training,
            examples: random_examples(13, 1),
        }
    }

    fn train(
        &self,
        directory: &Path,
        resume: bool,
        stop_after: u64,
    ) -> Result<Outcome, TrainError> {
        self.observed(directory, resume, &mut StopAfter(stop_after, 0))
    }

    fn observed(
        &self,
        directory: &Path,
        resume: bool,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, TrainError> {
        let device = Device::flex().autodiff();
        let config = RunConfig::of(&self.training).expect("settings are a table");
        let run = Run {
            directory: &RunDirectory::new(directory),
            config: &config,
            training: &self.training,
            loss: &LossArguments {
                prompt_loss_weight: 0.1,
                ..LossArguments::default()
            },
            batching: &BatchingArguments::default(),
            evaluation: EvaluationOptions::default(),
            train: &self.examples,
            validation: Some(&self.examples),
            test: self
                .training
                .load_best_model_at_end
                .then_some(&self.examples),
            companions: &[],
            resume,
        };
        train(&run, tiny_llama(3, &device), &device, observer)
    }
}

/// What a run leaves that must not depend on interruptions: metrics without the clock, predictions,
/// and the last weights and moments.
fn remains(directory: &Path) -> (Vec<MetricsRow>, Vec<Vec<u8>>) {
    let run = RunDirectory::new(directory);
    let metrics = run
        .read_metrics()
        .expect("metrics")
        .into_iter()
        .map(|row| MetricsRow {
            seconds: 0.0,
            ..row
        });
    let files = ["model.safetensors", "trainer_state/optimizer.safetensors"]
        .map(|file| run.checkpoints().join("step-8").join(file));
    let predictions = [0, 3, 6, 8].map(|step| run.predictions(step));
    let bytes = files
        .into_iter()
        .chain(predictions)
        .map(|path| std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")));
    (metrics.collect(), bytes.collect())
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
    // An evaluation's results are not written over.
    let evaluation = folder.path().join("evaluation");
    std::fs::create_dir(&evaluation).expect("made");
    std::fs::write(evaluation.join("summary.json"), "{}").expect("written");
    for resume in [false, true] {
        let refused = case.train(&evaluation, resume, u64::MAX);
        assert!(
            matches!(refused, Err(TrainError::NotARun { .. })),
            "{refused:?}"
        );
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
fn a_damaged_checkpoint_says_what_to_do() {
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    case.train(folder.path(), false, 4).expect("stopped");
    let weights = RunDirectory::new(folder.path())
        .checkpoints()
        .join("step-4/model.safetensors");
    std::fs::write(&weights, "no weights").expect("written");
    let error = case
        .train(folder.path(), true, u64::MAX)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("step-4") && error.contains("remove it to resume"),
        "{error}"
    );
}

#[test]
fn a_damaged_trainer_state_says_what_to_do() {
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    case.train(folder.path(), false, 4).expect("stopped");
    let moments = RunDirectory::new(folder.path())
        .checkpoints()
        .join("step-4/trainer_state/optimizer.safetensors");
    let whole = std::fs::read(&moments).expect("there");
    std::fs::write(&moments, &whole[..whole.len() - 1]).expect("written");
    let error = case
        .train(folder.path(), true, u64::MAX)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("optimizer.safetensors") && error.contains("remove it to resume"),
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

#[test]
fn a_loss_that_is_not_finite_names_step_and_examples() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut case = Case::new(1e30);
    case.training.warmup_steps = 0;
    let error = case
        .train(&folder.path().join("run"), false, u64::MAX)
        .expect_err("it diverges")
        .to_string();
    assert!(
        error.contains("step 2") && error.contains("questions.parquet row"),
        "{error}"
    );
}
