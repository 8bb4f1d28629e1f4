//! Which runs a report is made of: those that are complete, as they were written, and told apart.

#[allow(dead_code, reason = "other tests use more of it")]
mod demo_sweep;

use std::error::Error;
use std::fs;
use std::path::Path;

use demo_sweep::write_sweep;
use plw_record::RunDirectory;
use plw_report::{AnalysisOptions, Report, ReportError, analyze, read_sweep};

type TestResult = Result<(), Box<dyn Error>>;

fn report(sweep: &Path) -> Result<Report, ReportError> {
    let options = AnalysisOptions {
        resamples: 99,
        seed: 0,
    };
    Ok(analyze(&read_sweep(sweep)?, &options))
}

#[test]
fn incomplete_and_damaged_runs_are_listed() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_sweep(directory.path(), &[0.0, 1.0], 2, 8)?;
    let run = |name: &str| RunDirectory::new(directory.path().join(name));
    fs::remove_file(run("plw-1-seed-2").summary())?;
    fs::write(run("plw-0-seed-1").predictions(200), "not parquet")?;
    fs::create_dir(directory.path().join("notes"))?;
    let report = report(directory.path())?;
    let reasons: Vec<(&str, &str)> = report
        .incomplete
        .iter()
        .map(|run| (run.name.as_str(), run.reason.as_str()))
        .collect();
    assert_eq!(reasons.len(), 2);
    assert_eq!(reasons[0].0, "plw-0-seed-1");
    assert!(reasons[0].1.contains("step-200.parquet"), "{reasons:?}");
    assert_eq!(
        reasons[1],
        (
            "plw-1-seed-2",
            "no summary.json; its last logged step is 200"
        )
    );
    // What is left has no seed in common.
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    assert!(
        report.warnings[0].contains("weight 0 lacks seed 1"),
        "{:?}",
        report.warnings
    );
    assert_eq!(report.sections[0].comparisons[0].over_seeds, None);

    let empty = tempfile::tempdir()?;
    let message = read_sweep(empty.path())
        .expect_err("there is no run")
        .to_string();
    assert!(message.contains("no complete run"), "{message}");
    Ok(())
}

#[test]
fn a_summary_that_its_predictions_contradict_is_left_out() -> TestResult {
    type Edit = fn(&mut plw_record::Accuracy);
    let edits: [(&str, Edit); 4] = [
        ("`accuracy` is 0.99", |accuracy| accuracy.accuracy = 0.99),
        ("`correct`", |accuracy| accuracy.correct += 1),
        ("`argmax_accuracy` is 0.99", |accuracy| {
            accuracy.argmax_accuracy = 0.99
        }),
        ("`questions` is 64", |accuracy| accuracy.questions *= 2),
    ];
    for (says, edit) in edits {
        let directory = tempfile::tempdir()?;
        write_sweep(directory.path(), &[0.0, 1.0], 1, 8)?;
        let run = RunDirectory::new(directory.path().join("plw-1-seed-1"));
        let (mut summary, _) = run.read_summary()?;
        edit(
            &mut summary
                .last
                .as_mut()
                .ok_or("an evaluation")?
                .summary
                .accuracy,
        );
        run.write_summary(&summary)?;
        let report = report(directory.path())?;
        let [left_out] = report.incomplete.as_slice() else {
            panic!("{:?}", report.incomplete)
        };
        assert_eq!(left_out.name, "plw-1-seed-1");
        assert!(
            left_out.reason.contains(says) && left_out.reason.contains("step-200"),
            "{left_out:?}"
        );
    }
    Ok(())
}

#[test]
fn every_changed_bit_of_a_records_file_is_noticed() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_sweep(directory.path(), &[0.0, 1.0], 1, 4)?;
    let run = RunDirectory::new(directory.path().join("plw-1-seed-1"));
    let whole = report(directory.path())?;
    for file in [
        run.config(),
        run.summary(),
        run.metrics(),
        run.evaluations(),
        run.predictions(0),
        run.predictions(200),
    ] {
        let bytes = fs::read(&file)?;
        for place in (0..bytes.len()).step_by(bytes.len() / 40) {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            fs::write(&file, changed)?;
            match report(directory.path())? {
                // A space of config.toml may have become another.
                same if same == whole => assert_eq!(file, run.config()),
                other => assert_eq!(other.incomplete[0].name, "plw-1-seed-1", "{file:?}"),
            }
        }
        fs::write(&file, bytes)?;
    }
    Ok(())
}

#[test]
fn a_run_of_an_earlier_version_is_reported_with_a_warning() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_sweep(directory.path(), &[0.0, 1.0], 1, 8)?;
    let path = RunDirectory::new(directory.path().join("plw-1-seed-1")).summary();
    let mut keys: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&fs::read(&path)?)?;
    keys.retain(|key, _| key != "files" && key != "digest");
    plw_files::write_json_atomic(&path, &keys)?;
    let report = report(directory.path())?;
    let [warning] = report.warnings.as_slice() else {
        panic!("{:?}", report.warnings)
    };
    assert!(
        warning.contains("kept no digests: plw-1-seed-1"),
        "{warning}"
    );
    Ok(())
}

#[test]
fn a_copied_run_is_not_another_seed() -> TestResult {
    let directory = tempfile::tempdir()?;
    write_sweep(directory.path(), &[0.0, 1.0], 2, 8)?;
    let whole = report(directory.path())?;
    let [run, copy] = ["plw-1-seed-2", "a copy"].map(|name| directory.path().join(name));
    for folder in ["", "predictions"] {
        fs::create_dir_all(copy.join(folder))?;
        for entry in fs::read_dir(run.join(folder))? {
            let entry = entry?;
            if entry.path().is_file() {
                fs::copy(entry.path(), copy.join(folder).join(entry.file_name()))?;
            }
        }
    }
    let report = report(directory.path())?;
    assert_eq!(report.sections, whole.sections);
    let [left_out] = report.incomplete.as_slice() else {
        panic!("{:?}", report.incomplete)
    };
    assert!(
        left_out.reason.contains("repeats plw-1-seed-2"),
        "{left_out:?}"
    );
    Ok(())
}
