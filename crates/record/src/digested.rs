//! Records with digests: what was changed after a run or an evaluation was complete is noticed.

use std::path::Path;

use plw_files::{FileError, Verified, check_sealed_files, read_sealed, write_sealed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::RecordError;

/// The record that is written last.
pub(crate) const SUMMARY: &str = "summary.json";

/// Writes a record of a folder, with digests of itself and of other files there.
pub(crate) fn write_digested(
    folder: &Path,
    name: &str,
    record: &impl Serialize,
    files: Vec<String>,
) -> Result<(), RecordError> {
    let path = folder.join(name);
    match serde_json::to_value(record) {
        Ok(Value::Object(keys)) => Ok(write_sealed(path, keys, folder, files)?),
        Ok(_) => unreachable!("records are structs"),
        Err(source) => Err(RecordError::Json { path, source }),
    }
}

/// Reads a record of a folder, once it and the files that it has digests of were compared.
pub(crate) fn read_digested<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
) -> Result<(T, Verified), RecordError> {
    let path = folder.join(name);
    let (keys, verified) = read_sealed(&path).map_err(changed)?;
    check_sealed_files(&keys, folder, |_| true).map_err(changed)?;
    let record = serde_json::from_value(Value::Object(keys))
        .map_err(|source| RecordError::Json { path, source })?;
    Ok((record, verified))
}

fn changed(error: FileError) -> RecordError {
    RecordError::Changed {
        path: error.path,
        problem: error.source.to_string(),
    }
}
