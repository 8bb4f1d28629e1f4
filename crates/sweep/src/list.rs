//! `sweep.json`: the runs of a sweep, by index.

use std::io;
use std::path::Path;

use plw_files::{read_text, write_json_atomic};
use serde::de::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::SweepError;
use crate::attempt_folder::is_plain;

const LIST: &str = "sweep.json";

/// Bytes of the longest list: 10,000 runs with their settings.
const LONGEST: u64 = 1 << 26;

/// A run of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedRun {
    /// Its index, from 0, as `--index` and schedulers count.
    pub index: usize,
    /// Its name, which is that of its folder.
    pub name: String,
    /// The settings that tell it from the sweep's other runs.
    pub settings: Map<String, Value>,
}

/// Writes the list into the sweep's folder, if it does not hold just this.
///
/// # Errors
///
/// If the operating system refuses.
pub fn write_list(sweep: &Path, runs: &[ListedRun]) -> Result<(), SweepError> {
    match read_list(sweep) {
        Ok(found) if found == runs => Ok(()),
        _ => Ok(write_json_atomic(sweep.join(LIST), &runs)?),
    }
}

/// Reads the list.
///
/// # Errors
///
/// If there is none, or it cannot be read.
pub fn read_list(sweep: &Path) -> Result<Vec<ListedRun>, SweepError> {
    let path = sweep.join(LIST);
    let text = match read_text(&path, LONGEST) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
            return Err(SweepError::NoSweep {
                path: sweep.to_path_buf(),
            });
        }
        text => text?,
    };
    let runs: serde_json::Result<Vec<ListedRun>> = serde_json::from_str(&text);
    let checked = runs.and_then(|runs| match runs.iter().find(|run| !is_plain(&run.name)) {
        Some(run) => Err(serde_json::Error::custom(format!(
            "`{}` is no name of a run",
            run.name
        ))),
        None => Ok(runs),
    });
    checked.map_err(|source| SweepError::List { path, source })
}
