//! A run that diverges ends in an error, and its last good checkpoint stays.

use std::fs;

use crate::cases::{Case, remains};
use crate::changes::{change_tensors, reseal};
use plw_record::{RunDirectory, checkpoints};

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

#[test]
fn weights_that_are_not_finite_are_not_saved_and_the_error_names_the_tensor() {
    // One step multiplies the weights by -3.3e38: a norm's, which are 1, then leave f32.
    let mut case = Case::new(3.3e37);
    case.training.weight_decay = 10.0;
    case.training.warmup_steps = 0;
    case.training.max_steps = Some(1);
    case.training.save_total_limit = Some(1);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let error = case
        .train(folder.path(), false, u64::MAX)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("after step 1 the weights of `model.")
            && error.contains("norm.weight`")
            && error.contains("questions.parquet row"),
        "{error}"
    );
    let run = RunDirectory::new(folder.path());
    assert!(!run.is_complete());
    assert_eq!(checkpoints(run.checkpoints()).expect("listed"), []);
}

#[test]
fn the_last_good_checkpoint_stays_under_the_tightest_limit() {
    let mut case = Case::new(1e-2);
    case.training.save_total_limit = Some(1);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [whole, diverged] = ["whole", "diverged"].map(|name| folder.path().join(name));
    case.train(&whole, false, u64::MAX).expect("trained");
    case.train(&diverged, false, 4).expect("stopped");
    let steps = |directory: &std::path::Path| -> Vec<u64> {
        let found = checkpoints(RunDirectory::new(directory).checkpoints()).expect("listed");
        found.into_iter().map(|(step, _)| step).collect()
    };
    assert_eq!(steps(&whole), [8]);
    // No step was taken from the second yet.
    assert_eq!(steps(&diverged), [2, 4]);
    let last = RunDirectory::new(&diverged).checkpoints().join("step-4");
    change_tensors(&last.join("model.safetensors"), |tensors| {
        for (_, _, bytes) in tensors.values_mut() {
            *bytes = bytes
                .chunks(4)
                .flat_map(|_| 1e30f32.to_le_bytes())
                .collect();
        }
    });
    reseal(&last, |_| {});
    let error = case
        .train(&diverged, true, u64::MAX)
        .expect_err("it diverges")
        .to_string();
    assert!(error.contains("at step 5"), "{error}");
    assert_eq!(steps(&diverged), [2, 4]);
    fs::remove_dir_all(last).expect("removed");
    case.train(&diverged, true, u64::MAX)
        .expect("resumed from step 2");
    assert_eq!(remains(&diverged), remains(&whole));
    assert_eq!(steps(&diverged), [8]);
}
