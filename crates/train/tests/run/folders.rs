//! A run's folder holds one run, whole and in place, or the run does not go on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cases::{Case, copy, remains};
use plw_record::{MetricsRow, RecordError, RunDirectory};
use plw_train::{Beginning, Observer, Outcome, Plan, TrainError};

#[test]
fn records_without_a_config_are_another_runs() {
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    for record in [
        "metrics.jsonl",
        "evaluations.jsonl",
        "summary.json",
        "evaluation.toml",
        "predictions.parquet",
        "predictions/step-0.parquet",
        "checkpoints/step-300/model.safetensors",
        "checkpoints/latest",
    ] {
        let directory = folder.path().join(record.replace('/', "-"));
        let file = directory.join(record);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(&file, "of another run").expect("written");
        for resume in [false, true] {
            let error = case.train(&directory, resume, u64::MAX).expect_err(record);
            assert!(matches!(error, TrainError::NotARun { .. }), "{error}");
            let named = record.split('/').next().expect("a name");
            let error = error.to_string();
            assert!(
                error.contains(named) && error.contains("--output-dir"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&file).expect("there"), "of another run");
            assert!(!directory.join("config.toml").exists(), "{error}");
        }
    }
    // What is no record does not matter.
    let directory = folder.path().join("notes");
    fs::create_dir_all(directory.join("checkpoints")).expect("made");
    fs::write(directory.join("job.log"), "submitted").expect("written");
    case.train(&directory, false, 1).expect("trained");
}

#[test]
fn a_run_whose_config_is_gone_is_not_mixed_with_another() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    Case::new(1e-2)
        .train(folder.path(), false, u64::MAX)
        .expect("trained");
    let run = RunDirectory::new(folder.path());
    for file in [run.config(), run.summary()] {
        fs::remove_file(file).expect("there");
    }
    let metrics = fs::read(run.metrics()).expect("there");
    for resume in [false, true] {
        let error = Case::new(1e-3)
            .train(folder.path(), resume, 3)
            .expect_err("refused");
        assert!(
            error
                .to_string()
                .contains("metrics.jsonl and no config.toml"),
            "{error}"
        );
    }
    assert_eq!(fs::read(run.metrics()).expect("there"), metrics);
}

#[test]
fn a_resume_needs_every_row_up_to_its_checkpoint() {
    let mut case = Case::new(1e-2);
    case.training.logging_steps = 2;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    case.train(&whole, false, u64::MAX).expect("trained");
    case.train(&stopped, false, 6).expect("stopped");
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(stopped.join(name)).expect("there");
        text.lines().map(|line| format!("{line}\n")).collect()
    };
    let [metrics, evaluations] = ["metrics.jsonl", "evaluations.jsonl"].map(lines);
    assert_eq!((metrics.len(), evaluations.len()), (3, 2));
    let kept = |lines: &[String], rows: &[usize]| -> String {
        rows.iter().map(|&row| lines[row].as_str()).collect()
    };
    for (log, text, says) in [
        (
            "metrics.jsonl",
            String::new(),
            "the row of step 2 is missing",
        ),
        (
            "metrics.jsonl",
            kept(&metrics, &[0, 1]),
            "the row of step 6 is missing",
        ),
        (
            "metrics.jsonl",
            kept(&metrics, &[0, 2]),
            "row of step 4 belongs",
        ),
        (
            "metrics.jsonl",
            kept(&metrics, &[1, 0, 2]),
            "row of step 2 belongs",
        ),
        (
            "metrics.jsonl",
            kept(&metrics, &[0, 1, 1, 2]),
            "row of step 6 belongs",
        ),
        (
            "metrics.jsonl",
            kept(&metrics, &[0, 1, 2, 2]),
            "no row there",
        ),
        (
            "metrics.jsonl",
            metrics.concat()[..400].to_string(),
            "is missing",
        ),
        (
            "evaluations.jsonl",
            String::new(),
            "the row of step 0 is missing",
        ),
        (
            "evaluations.jsonl",
            kept(&evaluations, &[0]),
            "the row of step 3 is missing",
        ),
        (
            "evaluations.jsonl",
            kept(&evaluations, &[1]),
            "row of step 0 belongs",
        ),
    ] {
        let directory = folder.path().join("damaged");
        copy(&stopped, &directory);
        fs::write(directory.join(log), &text).expect("written");
        let error = case
            .train(&directory, true, u64::MAX)
            .expect_err(says)
            .to_string();
        assert!(error.contains(log) && error.contains(says), "{error}");
        assert_eq!(
            fs::read_to_string(directory.join(log)).expect("there"),
            text
        );
        fs::remove_dir_all(&directory).expect("removed");
    }
    // Values and predictions that the checkpoint counts on.
    let changed = |name: &str, from: &str, to: &str| {
        let text = fs::read_to_string(stopped.join(name)).expect("there");
        let at = text.find(from).expect("there") + from.len();
        text[..at].to_string() + to + &text[at + to.len()..]
    };
    for (record, bytes, says) in [
        (
            "metrics.jsonl",
            Some(changed("metrics.jsonl", "\"loss\":", "9").into_bytes()),
            "as it was",
        ),
        (
            "evaluations.jsonl",
            Some(changed("evaluations.jsonl", "_loss\":", "9").into_bytes()),
            "as it was",
        ),
        (
            "predictions/step-0.parquet",
            Some(fs::read(stopped.join("predictions/step-3.parquet")).expect("there")),
            "as it was",
        ),
        ("predictions/step-3.parquet", None, "it is missing"),
    ] {
        let directory = folder.path().join("damaged");
        copy(&stopped, &directory);
        match bytes {
            Some(bytes) => fs::write(directory.join(record), bytes).expect("written"),
            None => fs::remove_file(directory.join(record)).expect("there"),
        }
        let error = case
            .train(&directory, true, u64::MAX)
            .expect_err(record)
            .to_string();
        assert!(error.contains(record) && error.contains(says), "{error}");
        fs::remove_dir_all(&directory).expect("removed");
    }
    // What a kill leaves after the checkpoint is cut.
    let late = metrics.concat() + &metrics[2].replace("\"step\":6", "\"step\":8") + "{\"step\":9,";
    fs::write(stopped.join("metrics.jsonl"), late).expect("written");
    case.train(&stopped, true, u64::MAX).expect("resumed");
    assert_eq!(remains(&stopped), remains(&whole));
}

/// Does something to the run's folder after step 3.
struct Meddle<'a> {
    directory: &'a Path,
    with: fn(&Path),
}

impl Observer for Meddle<'_> {
    fn stepped(&mut self, row: &MetricsRow) {
        if row.step == 3 {
            (self.with)(self.directory);
        }
    }
}

fn moved(directory: &Path) -> PathBuf {
    directory.with_extension("moved")
}

#[test]
fn a_folder_that_is_taken_away_from_its_run_is_no_complete_run() {
    type With = fn(&Path);
    let cases: [(&str, With, &str); 5] = [
        (
            "moved",
            |directory| fs::rename(directory, moved(directory)).expect("moved"),
            "was moved, removed or replaced",
        ),
        (
            "removed",
            |directory| fs::remove_dir_all(directory).expect("removed"),
            "was moved, removed or replaced",
        ),
        (
            "replaced",
            |directory| {
                fs::rename(directory, moved(directory)).expect("moved");
                copy(&moved(directory), directory);
            },
            "was moved, removed or replaced",
        ),
        (
            "metrics removed",
            |directory| fs::remove_file(directory.join("metrics.jsonl")).expect("removed"),
            "metrics.jsonl: it was changed while the run was writing to it",
        ),
        (
            "metrics emptied",
            |directory| fs::write(directory.join("metrics.jsonl"), "").expect("emptied"),
            "metrics.jsonl: it was changed while the run was writing to it",
        ),
    ];
    for (name, with, says) in cases {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let directory = folder.path().join("run");
        let mut meddle = Meddle {
            directory: &directory,
            with,
        };
        let case = Case::new(1e-2);
        let outcome = case.observed(&directory, false, &mut meddle);
        let error = outcome.expect_err(name).to_string();
        assert!(error.contains(says), "{name}: {error}");
        assert!(!RunDirectory::new(&directory).is_complete(), "{name}");
        if name == "moved" {
            assert!(!directory.exists(), "nothing is written under the old name");
            case.train(&moved(&directory), true, u64::MAX)
                .expect("resumed where it is now");
        }
    }
}

#[test]
fn a_second_process_stays_out_even_without_the_lock_file() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut meddle = Meddle {
        directory: folder.path(),
        with: |directory| {
            fs::remove_file(directory.join(".lock")).expect("it is there");
            let second = RunDirectory::new(directory).create();
            assert!(
                matches!(second, Err(RecordError::Locked { .. })),
                "{second:?}"
            );
        },
    };
    let outcome = Case::new(1e-2).observed(folder.path(), false, &mut meddle);
    assert!(matches!(outcome, Ok(Outcome::Complete(_))), "{outcome:?}");
}

#[test]
fn a_run_says_where_it_begins_and_leaves_nothing_unfinished() {
    /// Asks to stop at once, or never.
    struct Begun {
        beginning: Option<Beginning>,
        stops: bool,
    }
    impl Observer for Begun {
        fn started(&mut self, _plan: &Plan, beginning: Beginning) {
            self.beginning = Some(beginning);
        }
        fn should_stop(&self) -> bool {
            self.stops
        }
    }
    let case = Case::new(1e-2);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let run = RunDirectory::new(folder.path());
    let begin = |resume, stops| {
        let mut begun = Begun {
            beginning: None,
            stops,
        };
        case.observed(folder.path(), resume, &mut begun)
            .expect("it runs");
        begun.beginning
    };
    assert_eq!(begin(false, true), Some(Beginning::New));
    assert_eq!(begin(true, true), Some(Beginning::WithoutCheckpoint));
    case.train(folder.path(), true, 2).expect("stopped");
    // As a kill leaves them.
    let unfinished = [
        folder.path().join(".summary.json.1-0.partial"),
        run.predictions_dir().join(".step-3.parquet.1-0.partial"),
        run.checkpoints().join(".step-4.1-0.partial"),
        run.checkpoints()
            .join("step-2/trainer_state/.state.json.1-0.partial"),
    ];
    for path in &unfinished {
        fs::write(path, "half").expect("written");
    }
    let (step, total_steps) = (2, 8);
    assert_eq!(
        begin(true, false),
        Some(Beginning::Checkpoint { step, total_steps })
    );
    assert!(unfinished.iter().all(|path| !path.exists()));
}
