//! The two logs of a run, one JSON object a line: `metrics.jsonl` and `evaluations.jsonl`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use plw_files::{FileError, write_atomic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::lines::{Lines, end_of_whole_lines};
use crate::{EvaluationRow, RecordError};

/// A logged optimizer step. Losses are in nats: means over the (sequence, target) pairs of the
/// step's examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsRow {
    /// The step, from 1.
    pub step: u64,
    /// The objective: the weighted, normalized loss.
    pub loss: f64,
    /// Mean loss of the prompt tokens. Null if their weight is 0, since it is not computed then.
    pub prompt_loss: Option<f64>,
    /// Mean loss of the completion tokens. Null if none were computed.
    pub completion_loss: Option<f64>,
    /// Mean loss of the answer tokens. Null if the data has none.
    pub answer_loss: Option<f64>,
    /// Global norm of the gradient, before clipping.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Passes over the training data by the end of the step.
    pub epoch: f64,
    /// Tokens of the step's sequences. A prefix counts once for each sequence that shares it.
    pub tokens: u64,
    /// Positions that the forward pass computed, padding included. Fewer than `tokens` if prefixes
    /// are shared.
    pub tokens_computed: u64,
    /// Questions (examples) of the step.
    pub questions: u64,
    /// Wall-clock seconds of the step.
    pub seconds: f64,
}

/// Appends a row to `metrics.jsonl`, and returns where in the file it is.
pub fn append_metrics(path: impl AsRef<Path>, row: &MetricsRow) -> Result<Range<u64>, RecordError> {
    append(path.as_ref(), row)
}

/// Appends a row to `evaluations.jsonl`.
pub fn append_evaluation(path: impl AsRef<Path>, row: &EvaluationRow) -> Result<(), RecordError> {
    append(path.as_ref(), row).map(drop)
}

/// Reads `metrics.jsonl`, without a half-written last line. A missing file has no rows.
pub fn read_metrics(path: impl AsRef<Path>) -> Result<Vec<MetricsRow>, RecordError> {
    read(path.as_ref())
}

/// Reads `evaluations.jsonl`, without a half-written last line. A missing file has no rows.
pub fn read_evaluations(path: impl AsRef<Path>) -> Result<Vec<EvaluationRow>, RecordError> {
    read(path.as_ref())
}

/// Prepares `metrics.jsonl` for a resume, atomically: cuts the rows of the steps that `is_cut`
/// names (those after the checkpoint) and a half-written last line.
///
/// # Errors
///
/// If the other rows are not those of the `expected` steps, in this order.
pub fn resume_metrics(
    path: impl AsRef<Path>,
    expected: impl IntoIterator<Item = u64>,
    is_cut: impl Fn(u64) -> bool,
) -> Result<(), RecordError> {
    resume(path.as_ref(), expected.into_iter(), is_cut)
}

/// Like [`resume_metrics`], for `evaluations.jsonl`. Also cuts the row of the test data, which is
/// written after the last checkpoint whatever its step.
pub fn resume_evaluations(
    path: impl AsRef<Path>,
    expected: impl IntoIterator<Item = u64>,
    is_cut: impl Fn(u64) -> bool,
) -> Result<(), RecordError> {
    resume(path.as_ref(), expected.into_iter(), is_cut)
}

/// Checks that `metrics.jsonl` holds the rows of the `expected` steps in this order, and no others.
pub fn check_metrics(
    path: impl AsRef<Path>,
    expected: impl IntoIterator<Item = u64>,
) -> Result<(), RecordError> {
    kept_rows(path.as_ref(), expected.into_iter(), |_| false).map(drop)
}

/// Appends one line in one write. Cuts a half-written line first, so that a kill cannot spoil this
/// one.
fn append(path: &Path, row: &impl Serialize) -> Result<Range<u64>, RecordError> {
    let mut line = serde_json::to_vec(row)
        .map_err(io::Error::from)
        .map_err(FileError::cannot("write JSON to", path))?;
    line.push(b'\n');
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(FileError::cannot("make the directory", parent))?;
    }
    let append_line = || -> io::Result<Range<u64>> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let start = end_of_whole_lines(&mut file)?;
        file.write_all(&line)?;
        Ok(start..start + line.len() as u64)
    };
    Ok(append_line().map_err(FileError::cannot("append to", path))?)
}

/// The complete lines of a log, and the value of each.
fn parse_lines<T: DeserializeOwned>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(Vec<u8>, T), RecordError>>, RecordError> {
    let lines = Lines::of(path)?.enumerate();
    Ok(lines.map(|(index, line)| {
        let line = line?;
        let row = serde_json::from_slice(&line).map_err(|source| RecordError::Row {
            path: path.to_path_buf(),
            line: index + 1,
            source,
        })?;
        Ok((line, row))
    }))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    parse_lines(path)?
        .map(|line| line.map(|(_, row)| row))
        .collect()
}

fn resume(
    path: &Path,
    expected: impl Iterator<Item = u64>,
    is_cut: impl Fn(u64) -> bool,
) -> Result<(), RecordError> {
    let kept = kept_rows(path, expected, is_cut)?;
    // All of the log is kept where as many bytes are.
    let length = fs::metadata(path).map_or(0, |log| log.len());
    match kept.len() as u64 == length {
        true => Ok(()),
        false => Ok(write_atomic(path, kept)?),
    }
}

/// The lines of the expected steps, byte for byte.
fn kept_rows(
    path: &Path,
    mut expected: impl Iterator<Item = u64>,
    is_cut: impl Fn(u64) -> bool,
) -> Result<Vec<u8>, RecordError> {
    /// Reads only what tells the rows apart.
    #[derive(Deserialize)]
    struct Stepped {
        step: u64,
        split: Option<String>,
    }
    let wrong = |problem: String| RecordError::Rows {
        path: path.to_path_buf(),
        problem,
    };
    let mut kept = Vec::new();
    for (index, line) in parse_lines::<Stepped>(path)?.enumerate() {
        let (line, Stepped { step, split }) = line?;
        if is_cut(step) || split.as_deref() == Some("test") {
            continue;
        }
        let line_number = index + 1;
        match expected.next() {
            Some(next) if next == step => kept.extend(line),
            Some(next) => {
                return Err(wrong(format!(
                    "line {line_number} is of step {step}, where the row of step {next} belongs"
                )));
            }
            None => {
                return Err(wrong(format!(
                    "line {line_number} is of step {step}, of which this run has no row there"
                )));
            }
        }
    }
    match expected.next() {
        None => Ok(kept),
        Some(step) => Err(wrong(format!("the row of step {step} is missing"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64) -> MetricsRow {
        MetricsRow {
            step,
            loss: 2.938796 / step as f64,
            prompt_loss: None,
            completion_loss: Some(0.1 + 0.2),
            answer_loss: Some(1.0),
            grad_norm: 6.248,
            learning_rate: 2e-4,
            epoch: 0.5,
            tokens: 1200,
            tokens_computed: 1000,
            questions: 4,
            seconds: 0.25,
        }
    }

    #[test]
    fn rows_read_back_bit_for_bit() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("run/metrics.jsonl");
        assert_eq!(read_metrics(&path)?, []);
        for step in 1..=3 {
            append_metrics(&path, &row(step))?;
        }
        assert_eq!(read_metrics(&path)?, [row(1), row(2), row(3)]);
        let first = fs::read_to_string(&path)?;
        assert!(first.starts_with("{\"step\":1,\"loss\":2.938796,\"prompt_loss\":null,"));
        Ok(())
    }

    #[test]
    fn a_half_written_line_is_ignored_and_cut() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("metrics.jsonl");
        let line = |step| serde_json::to_string(&row(step));
        let half = format!("{}\n{}\n{}", line(1)?, line(2)?, &line(3)?[..40]);
        fs::write(&path, &half)?;
        assert_eq!(read_metrics(&path)?, [row(1), row(2)]);
        append_metrics(&path, &row(4))?;
        assert_eq!(read_metrics(&path)?, [row(1), row(2), row(4)]);
        fs::write(&path, &half)?;
        resume_metrics(&path, [1], |step| step > 1)?;
        assert_eq!(fs::read_to_string(&path)?, format!("{}\n", line(1)?));
        fs::write(&path, "{\"step\":")?;
        resume_metrics(&path, [], |_| false)?;
        assert_eq!(fs::read_to_string(&path)?, "");
        Ok(())
    }

    #[test]
    fn kept_lines_stay_as_they_are() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("evaluations.jsonl");
        let text = "{\"step\": 0, \"of a later version\": [1]}\n{\"step\":3}\n{\"step\":5}\n\
                    {\"step\":0,\"split\":\"test\"}\n";
        fs::write(&path, text)?;
        resume_evaluations(&path, [0, 3], |step| step > 4)?;
        let kept = "{\"step\": 0, \"of a later version\": [1]}\n{\"step\":3}\n";
        assert_eq!(fs::read_to_string(&path)?, kept);
        resume_evaluations(&path, [], |_| true)?;
        assert_eq!(fs::read_to_string(&path)?, "");
        resume_evaluations(directory.path().join("none.jsonl"), [], |_| false)?;
        assert!(!directory.path().join("none.jsonl").exists());
        Ok(())
    }

    #[test]
    fn a_log_without_the_rows_that_count_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("metrics.jsonl");
        // What the log holds, of which rows 2, 4 and 6 are expected and 7 and later ones cut.
        let cases: [(&[u64], Option<&str>); 9] = [
            (&[2, 4, 6], None),
            (&[2, 4, 6, 8, 7], None),
            (&[], Some("the row of step 2 is missing")),
            (&[2, 4], Some("the row of step 6 is missing")),
            (&[2, 4, 8], Some("the row of step 6 is missing")),
            (
                &[2, 6, 4],
                Some("line 2 is of step 6, where the row of step 4 belongs"),
            ),
            (
                &[2, 2, 4, 6],
                Some("line 2 is of step 2, where the row of step 4 belongs"),
            ),
            (
                &[2, 3, 4, 6],
                Some("line 2 is of step 3, where the row of step 4 belongs"),
            ),
            (
                &[2, 4, 6, 6],
                Some("line 4 is of step 6, of which this run has no row there"),
            ),
        ];
        for (steps, says) in cases {
            let lines = steps.iter().map(|step| format!("{{\"step\":{step}}}\n"));
            let text: String = lines.collect();
            fs::write(&path, &text)?;
            let resumed = resume_metrics(&path, [2, 4, 6], |step| step > 6);
            let error = resumed.err().map(|error| error.to_string());
            match (&error, says) {
                (None, None) => {
                    let kept = "{\"step\":2}\n{\"step\":4}\n{\"step\":6}\n";
                    assert_eq!(fs::read_to_string(&path)?, kept);
                }
                (Some(error), Some(says)) => {
                    assert!(
                        error.contains(says) && error.contains("metrics.jsonl"),
                        "{error}"
                    );
                    assert_eq!(fs::read_to_string(&path)?, text, "it is left as it was");
                }
                _ => panic!("{steps:?}: {error:?}"),
            }
        }
        fs::write(&path, "{\"step\":2}\nnot a row\n")?;
        let message = check_metrics(&path, [2])
            .expect_err("it is refused")
            .to_string();
        assert!(message.contains("metrics.jsonl:2"), "{message}");
        Ok(())
    }
}
