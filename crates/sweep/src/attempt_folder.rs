//! Where an attempt writes.

use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use plw_record::RunDirectory;

use crate::Worker;

/// The directory of a run's attempts.
pub(crate) const ATTEMPTS: &str = "attempts";

/// A name that no other attempt has, on any machine: its number, then who makes it, and when.
pub(crate) fn new_folder(number: u32, worker: &Worker) -> String {
    let host: String = worker
        .host
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos());
    format!("{number}-{host}-{}-{now:x}", worker.process)
}

/// The folder of an attempt.
pub(crate) fn path_of(run: &RunDirectory, folder: &str) -> PathBuf {
    run.path.join(ATTEMPTS).join(folder)
}

/// The run of an attempt, under the name of the run itself, which its records have in them.
pub(crate) fn run_of(run: &RunDirectory, folder: &str) -> RunDirectory {
    RunDirectory::new(path_of(run, folder).join(run.name()))
}

/// The attempt's sign of life.
pub(crate) fn heartbeat_of(run: &RunDirectory, folder: &str) -> PathBuf {
    path_of(run, folder).join("heartbeat.json")
}

/// Bytes of the longest name that file systems take.
const LONGEST_NAME: usize = 255;

/// Whether a name is that of something in a folder, and leads nowhere else: what an event names is
/// moved and removed.
pub(crate) fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one = matches!(components.next(), Some(Component::Normal(only)) if only == name);
    is_one && name.len() <= LONGEST_NAME
}
