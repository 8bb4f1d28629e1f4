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

/// A sweep, as all of its workers must see it: the same index must be the same run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SweepList {
    /// The settings of the preset.
    pub settings: Map<String, Value>,
    /// The runs, by index.
    pub runs: Vec<ListedRun>,
}

impl SweepList {
    /// What tells this sweep from `other`. None if they are the same.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (&self.settings, &other.settings);
        let names = ours.keys().chain(theirs.keys());
        let mut changed = names.filter(|name| ours.get(*name) != theirs.get(*name));
        if let Some(name) = changed.next() {
            let shown = |value: Option<&Value>| {
                value.map_or("not set".to_string(), |value| value.to_string())
            };
            return Some(format!(
                "`{name}` was {}, is {}",
                shown(ours.get(name)),
                shown(theirs.get(name))
            ));
        }
        if self.runs == other.runs {
            return None;
        }
        let differing = self.runs.iter().zip(&other.runs).find(|(a, b)| a != b);
        Some(match differing {
            Some((was, is)) => format!("run {} was {}, is {}", was.index, was.name, is.name),
            None => format!(
                "it had {} runs, and has {}",
                self.runs.len(),
                other.runs.len()
            ),
        })
    }
}

/// Writes the list into the sweep's folder, if it does not hold just this.
///
/// # Errors
///
/// If the operating system refuses.
pub fn write_list(sweep: &Path, list: &SweepList) -> Result<(), SweepError> {
    match read_list(sweep) {
        Ok(found) if found == *list => Ok(()),
        _ => Ok(write_json_atomic(sweep.join(LIST), list)?),
    }
}

/// Checks that the list is there: a sweep's folder that was moved away is not made again.
///
/// # Errors
///
/// If it is not.
pub fn require_list(sweep: &Path) -> Result<(), SweepError> {
    match sweep.join(LIST).is_file() {
        true => Ok(()),
        false => Err(SweepError::NoSweep {
            path: sweep.to_path_buf(),
        }),
    }
}

/// Reads the list.
///
/// # Errors
///
/// If there is none, or it cannot be read.
pub fn read_list(sweep: &Path) -> Result<SweepList, SweepError> {
    let path = sweep.join(LIST);
    let text = match read_text(&path, LONGEST) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
            return Err(SweepError::NoSweep {
                path: sweep.to_path_buf(),
            });
        }
        text => text?,
    };
    let list: serde_json::Result<SweepList> = serde_json::from_str(&text);
    let checked = list.and_then(
        |list| match list.runs.iter().find(|run| !is_plain(&run.name)) {
            Some(run) => Err(serde_json::Error::custom(format!(
                "`{}` is no name of a run",
                run.name
            ))),
            None => Ok(list),
        },
    );
    checked.map_err(|source| SweepError::List { path, source })
}
