//! The state of a checkpoint, given as changed copies of a good one: it is read, or refused with an
//! error that names the file, in little memory.

mod readers;

use std::fs;
use std::path::Path;

use plw_mutate::{edited, edits, mutated, mutations, try_all, with_little_memory};
use plw_record::{EvaluationRow, EvaluationSummary};
use plw_train::TrainerState;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A checkpoint of one file beside its state, which is returned without its digest.
fn checkpoint(folder: &Path) -> Value {
    fs::create_dir_all(folder.join("trainer_state")).expect("made");
    fs::write(folder.join("model.safetensors"), "weights").expect("written");
    let evaluation = |step| EvaluationRow {
        step,
        split: "validation".to_string(),
        summary: EvaluationSummary::default(),
    };
    let state = TrainerState {
        step: 4,
        total_steps: 8,
        run: "0123456789ab".to_string(),
        train_loss: Some(2.5),
        initial: Some(evaluation(0)),
        last: Some(evaluation(3)),
        best: Some(evaluation(3)),
        ..TrainerState::default()
    };
    let mut keys = serde_json::to_value(state).expect("it has a JSON form");
    keys["files"] = json!({"model.safetensors": plw_files::digest("weights")});
    keys
}

#[test]
fn any_state_is_read_or_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = folder.path().join("step-4");
    let good = checkpoint(&folder);
    let text = readers::sealed(good.clone()).to_string();
    assert!(readers::state(&folder, text.as_bytes()).is_some());
    with_little_memory("any_state_is_read_or_refused", || {
        let cases = (
            mutations(),
            any::<bool>(),
            prop::option::weighted(0.1, edits(1)),
        );
        try_all(2000, cases, |(mutations, is_sealed, edits)| {
            let state = mutated(&good, &mutations);
            let state = if is_sealed {
                readers::sealed(state)
            } else {
                state
            };
            let text = state.to_string().into_bytes();
            let text = edits.map_or(text.clone(), |edits| edited(&text, &edits, &[b"null"]));
            if let Some(state) = readers::state(&folder, &text) {
                assert_eq!(state.step, 4);
                assert!(state.last.is_none_or(|last| last.step <= 4));
            }
            serde_json::from_slice::<Map<String, Value>>(&text).is_ok()
        });
    });
}

#[test]
fn a_state_of_no_run_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = folder.path().join("step-4");
    let good = checkpoint(&folder);
    for (key, value, says) in [
        (
            "total_steps",
            json!(3),
            "it is of step 4 of a run of 3 steps",
        ),
        (
            "files",
            json!({"/etc/passwd": "0"}),
            "\"/etc/passwd\", which is not a file of this folder",
        ),
        (
            "files",
            json!({"a/../../step-2/model.safetensors": "0"}),
            "which is not a file of this folder",
        ),
        (
            "last",
            json!(EvaluationRow {
                step: u64::MAX,
                split: "validation".to_string(),
                summary: EvaluationSummary::default(),
            }),
            "with an evaluation of step 18446744073709551615",
        ),
    ] {
        let mut state = good.clone();
        state[key] = value;
        let path = folder.join("trainer_state/state.json");
        fs::write(&path, readers::sealed(state).to_string()).expect("written");
        let error = plw_train::read_state(&folder)
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("state.json") && error.contains(says),
            "{error}"
        );
    }
}

#[test]
#[cfg(unix)]
fn a_state_without_an_end_is_refused() {
    with_little_memory("a_state_without_an_end_is_refused", || {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("trainer_state/state.json");
        checkpoint(folder.path());
        std::os::unix::fs::symlink("/dev/zero", &path).expect("linked");
        let refused = || {
            plw_train::read_state(folder.path())
                .expect_err("refused")
                .to_string()
        };
        assert!(refused().ends_with("state.json: it is not a regular file"));
        fs::remove_file(&path).expect("there");
        fs::File::create(&path)
            .and_then(|file| file.set_len(1 << 40))
            .expect("sparse");
        assert!(refused().contains("state.json: it holds more than"));
    });
}
