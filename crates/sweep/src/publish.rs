//! How a complete run gets from its attempt's folder to the run's own.

use std::fs;
use std::io;
use std::path::Path;

use plw_files::{FileError, sync_file};
use plw_record::RunDirectory;

use crate::SweepError;
use crate::attempt_folder::{ATTEMPTS, run_of};
use crate::inherit::remove;

/// Moves the records of the attempt that completed a run to the run's folder, the summary last, and
/// removes what the attempts left.
///
/// Only the attempt of the event `complete` is published, of which a run has one, and nothing that
/// was published is replaced. So several processes may do this at once, or go on where a killed one
/// was, and all of them come to the same.
///
/// # Errors
///
/// If something cannot be moved.
pub(crate) fn publish(run: &RunDirectory, folder: &str) -> Result<(), SweepError> {
    let attempt = run_of(run, folder);
    if !run.is_complete() {
        if !attempt.path.exists() && !run.config().exists() {
            return Err(SweepError::Gone { path: attempt.path });
        }
        let entries = match fs::read_dir(&attempt.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed
                .and_then(|entries| {
                    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
                    paths.collect::<io::Result<Vec<_>>>()
                })
                .map_err(FileError::cannot("list", &attempt.path))?,
        };
        let is_hidden = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with('.')
        };
        let summary = attempt.summary();
        for path in entries {
            if path != summary && !is_hidden(&path) {
                move_into(&path, &run.path)?;
            }
        }
        // The summary says that all others are there.
        sync_file(run.config())?;
        move_into(&summary, &run.path)?;
        sync_file(run.summary())?;
    }
    // A stale attempt may be writing there still: then the next worker that looks removes the rest.
    drop(remove(&run.path.join(ATTEMPTS)));
    Ok(())
}

/// Moves a file or a directory into another one. It may have been moved already.
fn move_into(path: &Path, directory: &Path) -> Result<(), FileError> {
    let target = directory.join(path.file_name().unwrap_or_default());
    match fs::rename(path, &target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && target.exists() => Ok(()),
        moved => moved.map_err(FileError::cannot("move a record to", &target)),
    }
}
