//! The records that a checkpoint counts on, with digests: the rows of the logs until then, and the
//! predictions of the evaluations.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use plw_files::{FileError, digest_start};
use plw_record::{RecordError, RunDirectory, step_of};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// The first bytes of a record, as they were when a checkpoint was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedRecord {
    /// How many.
    pub bytes: u64,
    /// Their digest.
    pub digest: String,
}

/// By their paths from the run's folder. Empty in checkpoints of earlier versions of plw.
pub(crate) type CountedRecords = BTreeMap<String, CountedRecord>;

/// The logs as they are, and the predictions of the evaluations until a step, if there was one.
pub(crate) fn count_records(
    directory: &RunDirectory,
    last_evaluation: Option<u64>,
) -> Result<CountedRecords, TrainError> {
    let logs = [directory.metrics(), directory.evaluations()];
    let predictions = predictions_until(directory, last_evaluation)?;
    let mut found = CountedRecords::new();
    for path in logs.into_iter().chain(predictions) {
        let bytes = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(FileError::cannot("read", &path))?.len(),
        };
        let name = path.strip_prefix(&directory.path).unwrap_or(&path);
        let record = CountedRecord {
            bytes,
            digest: digest_start(&path, bytes)?,
        };
        found.insert(name.to_string_lossy().replace('\\', "/"), record);
    }
    Ok(found)
}

fn predictions_until(
    directory: &RunDirectory,
    last: Option<u64>,
) -> Result<Vec<PathBuf>, TrainError> {
    let folder = directory.predictions_dir();
    let Some(last) = last.filter(|_| folder.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(FileError::cannot("list", &folder))? {
        let path = entry.map_err(FileError::cannot("list", &folder))?.path();
        let step = path.file_stem().and_then(|stem| step_of(stem.to_str()?));
        let is_ours = step.is_some_and(|step| path == directory.predictions(step));
        if is_ours && step.is_some_and(|step| step <= last) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Compares the records with their digests: all of them, or where rows were taken back from the
/// logs the predictions alone.
///
/// # Errors
///
/// If one is missing or not as it was written.
pub(crate) fn check_records(
    directory: &RunDirectory,
    records: &CountedRecords,
    is_wanted: impl Fn(&Path) -> bool,
) -> Result<(), TrainError> {
    for (name, record) in records {
        let path = directory.path.join(name);
        if !is_wanted(&path) {
            continue;
        }
        let problem = match digest_start(&path, record.bytes) {
            Ok(digest) if digest == record.digest => continue,
            Ok(_) => "it is not as it was when the checkpoint was written",
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => "it is missing",
            Err(error) => return Err(error.into()),
        };
        return Err(TrainError::Record(RecordError::Changed {
            path,
            problem: problem.to_string(),
        }));
    }
    Ok(())
}
