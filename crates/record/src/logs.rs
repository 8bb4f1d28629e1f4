//! The two logs of a run, one JSON object a line: `metrics.jsonl` and `evaluations.jsonl`.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use plw_files::{FileError, write_atomic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

/// Appends a row to `metrics.jsonl`.
pub fn append_metrics(path: impl AsRef<Path>, row: &MetricsRow) -> Result<(), RecordError> {
    append(path.as_ref(), row)
}

/// Appends a row to `evaluations.jsonl`.
pub fn append_evaluation(path: impl AsRef<Path>, row: &EvaluationRow) -> Result<(), RecordError> {
    append(path.as_ref(), row)
}

/// Reads `metrics.jsonl`, without a half-written last line. A missing file has no rows.
pub fn read_metrics(path: impl AsRef<Path>) -> Result<Vec<MetricsRow>, RecordError> {
    read(path.as_ref())
}

/// Reads `evaluations.jsonl`, without a half-written last line. A missing file has no rows.
pub fn read_evaluations(path: impl AsRef<Path>) -> Result<Vec<EvaluationRow>, RecordError> {
    read(path.as_ref())
}

/// Prepares a resume at the checkpoint of `step`: cuts the rows of later steps and a half-written
/// last line, atomically.
pub fn truncate_metrics_after(path: impl AsRef<Path>, step: u64) -> Result<(), RecordError> {
    truncate_after(path.as_ref(), Some(step))
}

/// Like [`truncate_metrics_after`], for `evaluations.jsonl` and the step of the last evaluation
/// that the checkpoint knows of. Without such a step no row stays. Also cuts the row of the test
/// data, which is written after the last checkpoint whatever its step.
pub fn truncate_evaluations_after(
    path: impl AsRef<Path>,
    step: Option<u64>,
) -> Result<(), RecordError> {
    truncate_after(path.as_ref(), step)
}

/// Appends one line in one write. Cuts a half-written line first, so that a kill cannot spoil this
/// one.
fn append(path: &Path, row: &impl Serialize) -> Result<(), RecordError> {
    let mut line = serde_json::to_vec(row)
        .map_err(io::Error::from)
        .map_err(FileError::cannot("write JSON to", path))?;
    line.push(b'\n');
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(FileError::cannot("make the directory", parent))?;
    }
    let append_line = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.seek(SeekFrom::Start(0))?;
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                file.set_len(whole_lines(&bytes).len() as u64)?;
            }
        }
        file.write_all(&line)
    };
    Ok(append_line().map_err(FileError::cannot("append to", path))?)
}

/// The bytes of a log up to its last newline.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    &bytes[..end.map_or(0, |newline| newline + 1)]
}

/// The bytes of a log. None if it does not exist.
fn read_bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(FileError::cannot("read", path)),
    }
}

/// The complete lines of a log, and the value of each.
fn parse_lines<'a, T: DeserializeOwned>(
    path: &'a Path,
    bytes: &'a [u8],
) -> impl Iterator<Item = Result<(&'a [u8], T), RecordError>> {
    whole_lines(bytes)
        .split_inclusive(|&byte| byte == b'\n')
        .enumerate()
        .map(move |(index, line)| {
            let row = serde_json::from_slice(line).map_err(|source| RecordError::Row {
                path: path.to_path_buf(),
                line: index + 1,
                source,
            })?;
            Ok((line, row))
        })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let bytes = read_bytes(path)?;
    parse_lines(path, &bytes)
        .map(|line| line.map(|(_, row)| row))
        .collect()
}

fn truncate_after(path: &Path, step: Option<u64>) -> Result<(), RecordError> {
    /// Reads only the step, so that the remaining lines keep their bytes.
    #[derive(Deserialize)]
    struct Stepped {
        step: u64,
        split: Option<String>,
    }
    let bytes = read_bytes(path)?;
    let mut kept = Vec::with_capacity(bytes.len());
    for line in parse_lines::<Stepped>(path, &bytes) {
        let (line, row) = line?;
        if step.is_some_and(|step| row.step <= step) && row.split.as_deref() != Some("test") {
            kept.extend_from_slice(line);
        }
    }
    if kept == bytes {
        return Ok(());
    }
    Ok(write_atomic(path, kept)?)
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
        truncate_metrics_after(&path, 1)?;
        assert_eq!(fs::read_to_string(&path)?, format!("{}\n", line(1)?));
        fs::write(&path, "{\"step\":")?;
        truncate_metrics_after(&path, 9)?;
        assert_eq!(fs::read_to_string(&path)?, "");
        Ok(())
    }

    #[test]
    fn truncation_keeps_lines_as_they_are() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("evaluations.jsonl");
        let text = "{\"step\": 0, \"of a later version\": [1]}\n{\"step\":5}\n{\"step\":3}\n\
                    {\"step\":0,\"split\":\"test\"}\n";
        fs::write(&path, text)?;
        truncate_evaluations_after(&path, Some(4))?;
        let kept = "{\"step\": 0, \"of a later version\": [1]}\n{\"step\":3}\n";
        assert_eq!(fs::read_to_string(&path)?, kept);
        truncate_evaluations_after(&path, None)?;
        assert_eq!(fs::read_to_string(&path)?, "");
        truncate_evaluations_after(directory.path().join("none.jsonl"), Some(4))?;
        assert!(!directory.path().join("none.jsonl").exists());
        fs::write(&path, "{\"step\":1}\nnot a row\n")?;
        let message = truncate_evaluations_after(&path, Some(4))
            .expect_err("it is refused")
            .to_string();
        assert!(message.contains("evaluations.jsonl:2"), "{message}");
        Ok(())
    }
}
