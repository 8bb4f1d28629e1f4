//! The readers of a run's records as plain functions of bytes, for property tests and for fuzzers.
//! Each may refuse but not panic, and names the file when it refuses. The results say whether the
//! bytes passed the first check of their format.

use std::fs;
use std::path::Path;

use plw_record::{
    Accuracy, RecordError, RunConfig, RunDirectory, append_metrics, check_metrics,
    latest_checkpoint, read_evaluations, read_metrics, read_predictions, resume_evaluations,
    resume_metrics, step_of,
};

/// What was read, unless an error that names the file says why not.
fn read<T>(read: Result<T, RecordError>, file: &str) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains(file), "{told} does not name {file}");
            None
        }
    }
}

/// `config.toml`.
pub(crate) fn configuration(folder: &Path, bytes: &[u8]) -> bool {
    let path = folder.join("config.toml");
    fs::write(&path, bytes).expect("a temporary file");
    let Some(config) = read(RunConfig::read(&path), "config.toml") else {
        return false;
    };
    // Nothing equals NaN.
    let difference = config.difference(&config);
    assert!(difference.is_none_or(|told| told.contains("nan")));
    assert_eq!(config.hash().len(), 12);
    config.step_hash();
    true
}

/// `summary.json`.
pub(crate) fn summary(folder: &Path, bytes: &[u8]) -> bool {
    let path = folder.join("summary.json");
    fs::write(&path, bytes).expect("a temporary file");
    let run = RunDirectory::new(folder);
    fs::write(run.config(), "").expect("a temporary file");
    match run.read_summary() {
        Ok((summary, _)) => {
            let _ = summary.reported();
            assert!(serde_json::to_vec(&summary).is_ok());
        }
        // A summary that can be read is of other settings.
        Err(RecordError::Changed { path, .. }) if path == run.config() => {}
        other => {
            read(other, "summary.json");
        }
    }
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
}

/// `metrics.jsonl` and `evaluations.jsonl`.
pub(crate) fn logs(folder: &Path, metrics: &[u8], evaluations: &[u8]) -> bool {
    let [metrics_path, evaluations_path] =
        ["metrics.jsonl", "evaluations.jsonl"].map(|name| folder.join(name));
    fs::write(&metrics_path, metrics).expect("a temporary file");
    fs::write(&evaluations_path, evaluations).expect("a temporary file");
    let rows = read(read_metrics(&metrics_path), "metrics.jsonl");
    read(read_evaluations(&evaluations_path), "evaluations.jsonl");
    read(check_metrics(&metrics_path, 1..=2), "metrics.jsonl");
    let resumed = resume_evaluations(&evaluations_path, [0, 2], |step| step > 2);
    if read(resumed, "evaluations.jsonl").is_some() {
        let again = resume_evaluations(&evaluations_path, [0, 2], |_| false);
        assert!(again.is_ok(), "{again:?}");
    }
    let resumed = resume_metrics(&metrics_path, 1..=2, |step| step > 2);
    read(resumed, "metrics.jsonl");
    if let Some(row) = rows.as_ref().and_then(|rows| rows.first()) {
        read(append_metrics(&metrics_path, row), "metrics.jsonl");
    }
    let lines = [metrics, evaluations].concat();
    let mut lines = lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    lines.all(|line| serde_json::from_slice::<serde_json::Value>(line).is_ok())
}

/// `latest`, in a folder of checkpoints.
pub(crate) fn latest(folder: &Path, bytes: &[u8]) -> bool {
    fs::write(folder.join("latest"), bytes).expect("a temporary file");
    let Some(found) = read(latest_checkpoint(folder), "latest") else {
        return false;
    };
    if let Some(path) = found {
        let name = path.file_name().and_then(|name| name.to_str());
        assert!(name.is_some_and(|name| step_of(name).is_some()), "{path:?}");
        assert!(path.parent() == Some(folder) && path.is_dir(), "{path:?}");
    }
    true
}

/// `predictions.parquet`.
pub(crate) fn predictions(folder: &Path, bytes: &[u8]) -> bool {
    let path = folder.join("predictions.parquet");
    fs::write(&path, bytes).expect("a temporary file");
    match read(read_predictions(&path), "predictions.parquet") {
        Some(rows) => {
            let accuracy = Accuracy::of(&rows);
            assert!((0.0..=1.0).contains(&accuracy.accuracy));
        }
        None => return bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"),
    }
    true
}
