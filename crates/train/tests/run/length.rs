//! A run may become longer where its result is that of an uninterrupted run of the new length.

use std::path::Path;

use crate::cases::{Case, Remains, remains_of};
use crate::changes::reseal;
use plw_model::WeightType;
use plw_record::RunDirectory;
use plw_train::{LrSchedulerType, Outcome, TrainError};

fn case(max_steps: u64) -> Case {
    let mut case = Case::new(1e-2);
    case.training.max_steps = Some(max_steps);
    // Neither divides 8, whose row and evaluation a longer run does not have.
    case.training.logging_steps = 3;
    case.training.eval_steps = Some(3);
    case
}

/// What a run of 12 steps leaves, but for the clock.
fn whole(directory: &Path) -> (Remains, Vec<(u64, Option<f64>)>) {
    let remains = remains_of(directory, 12, &[0, 3, 6, 9, 12]);
    let evaluations = RunDirectory::new(directory)
        .read_evaluations()
        .expect("evaluations");
    let evaluations = evaluations
        .into_iter()
        .map(|row| (row.step, row.summary.answer_loss));
    (remains, evaluations.collect())
}

#[test]
fn an_extended_run_is_an_uninterrupted_longer_one_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let expected = folder.path().join("whole");
    case(12).train(&expected, false, u64::MAX).expect("trained");
    let expected = whole(&expected);
    // Where the shorter run was stopped, and then the longer one. Both are resumed.
    for (number, (shorter, longer)) in [(u64::MAX, u64::MAX), (5, u64::MAX), (u64::MAX, 9), (6, 7)]
        .into_iter()
        .enumerate()
    {
        let directory = folder.path().join(number.to_string());
        case(8).train(&directory, false, shorter).expect("trained");
        case(12).train(&directory, true, longer).expect("extended");
        let run = RunDirectory::new(&directory);
        assert_eq!(run.is_complete(), longer == u64::MAX);
        let Ok(Outcome::Complete(summary)) = case(12).train(&directory, true, u64::MAX) else {
            panic!("it completes");
        };
        assert_eq!(summary.steps, 12);
        assert_eq!(
            whole(&directory),
            expected,
            "stopped after {shorter} and {longer}"
        );
        assert_eq!(
            run.read_config().expect("there").table["max_steps"].as_integer(),
            Some(12)
        );
    }
}

#[test]
fn a_length_that_changes_the_result_is_refused() {
    type Change = fn(&mut Case);
    type Meddle = fn(&RunDirectory);
    let nothing: Meddle = |_| {};
    let same: Change = |_| {};
    // What both runs have, what happens between them, the second's steps, and the refusal.
    let table: [(Change, Meddle, u64, &str); 7] = [
        (
            |case| case.training.lr_scheduler_type = LrSchedulerType::Linear,
            nothing,
            12,
            "step 4 was taken with the learning rate 0.0083",
        ),
        (
            |case| (case.training.warmup_steps, case.training.warmup_ratio) = (0, 0.3),
            nothing,
            12,
            "constant_with_warmup",
        ),
        (same, nothing, 6, "its checkpoint is of step 8"),
        (
            same,
            |run| std::fs::remove_dir_all(run.checkpoints()).expect("removed"),
            12,
            "no checkpoint to continue from",
        ),
        (
            |case| case.training.load_best_model_at_end = true,
            |run| {
                reseal(&run.checkpoints().join("step-8"), |keys| {
                    let last = keys["last"].clone();
                    keys.insert("best".to_string(), last);
                });
            },
            12,
            "its best model is that of step 8",
        ),
        (
            |case| case.training.save_only_model = true,
            nothing,
            12,
            "holds the model without the optimizer's state",
        ),
        (
            |case| {
                case.training.save_only_model = true;
                case.training.save_dtype = WeightType::Bf16;
            },
            nothing,
            12,
            "holds the model without the optimizer's state",
        ),
    ];
    for (change, meddle, steps, says) in table {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let run = RunDirectory::new(folder.path());
        let [mut first, mut second] = [8, steps].map(case);
        change(&mut first);
        change(&mut second);
        first
            .train(folder.path(), false, u64::MAX)
            .expect("trained");
        meddle(&run);
        let metrics = std::fs::read(run.metrics()).expect("there");
        let error = second
            .train(folder.path(), true, u64::MAX)
            .expect_err(says)
            .to_string();
        assert!(error.contains(says), "{error}");
        assert!(run.is_complete(), "it stays what it was: {error}");
        assert_eq!(std::fs::read(run.metrics()).expect("there"), metrics);
    }
}

#[test]
fn what_is_kept_may_change_between_the_parts_of_a_run() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    case(8).train(&whole, false, u64::MAX).expect("trained");
    case(8).train(&parts, false, 4).expect("stopped");
    let mut other = case(8);
    other.training.save_steps = 0;
    other.training.save_total_limit = Some(1);
    other.train(&parts, true, u64::MAX).expect("resumed");
    let left = |directory| remains_of(directory, 8, &[0, 3, 6, 8]);
    assert_eq!(left(&parts), left(&whole));
    assert!(
        !RunDirectory::new(&parts)
            .checkpoints()
            .join("step-6")
            .exists()
    );
}

#[test]
fn a_model_alone_takes_less_and_cannot_be_resumed() {
    let mut case = case(8);
    case.training.save_only_model = true;
    case.training.save_dtype = WeightType::Bf16;
    let folder = tempfile::tempdir().expect("a temporary directory");
    case.train(folder.path(), false, 4).expect("stopped");
    let checkpoint = RunDirectory::new(folder.path())
        .checkpoints()
        .join("step-4");
    assert!(
        !checkpoint
            .join("trainer_state/optimizer.safetensors")
            .exists()
    );
    let config = std::fs::read_to_string(checkpoint.join("config.json")).expect("saved");
    assert!(config.contains("bfloat16"), "{config}");
    let error = case
        .train(folder.path(), true, u64::MAX)
        .expect_err("refused");
    assert!(matches!(error, TrainError::OnlyModel { .. }), "{error}");
}
