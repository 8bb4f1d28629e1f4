//! What an attempt takes over from the one before it: the checkpoints, and the records that they
//! count on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use plw_files::{FileError, copy_atomic};
use plw_record::{RunDirectory, checkpoints, latest_checkpoint, update_latest};

use crate::SweepError;

/// How often checkpoints are listed again because the attempt before, which may still be at work,
/// removed one meanwhile.
const TRIES: u32 = 10;

/// Fills a new attempt's folder with what the attempt before has reached, and says whether that is
/// anything. Nothing of the former's is changed.
///
/// # Errors
///
/// If something cannot be read, linked or copied.
pub(crate) fn inherit(from: &RunDirectory, to: &RunDirectory) -> Result<bool, SweepError> {
    let mut tries = 0;
    let latest = loop {
        tries += 1;
        match inherit_checkpoints(&from.checkpoints(), &to.checkpoints()) {
            Err(SweepError::File(error))
                if error.source.kind() == io::ErrorKind::NotFound && tries < TRIES =>
            {
                remove(&to.checkpoints())?;
            }
            inherited => break inherited?,
        }
    };
    let Some(latest) = latest else {
        return Ok(false);
    };
    // After the checkpoints, so that no row that these count on is missing. Later rows and
    // predictions are cut and replaced when the run resumes.
    for file in [from.config(), from.metrics(), from.evaluations()] {
        if file.exists() {
            copy_atomic(&file, beside(&file, &to.path))?;
        }
    }
    if from.predictions_dir().exists() {
        link_tree(&from.predictions_dir(), &to.predictions_dir())?;
    }
    update_latest(to.checkpoints(), &latest)?;
    Ok(true)
}

/// Links the complete checkpoints, and returns the name of the one to resume from. All of them: one
/// may be the best so far.
fn inherit_checkpoints(from: &Path, to: &Path) -> Result<Option<String>, SweepError> {
    let latest = latest_checkpoint(from)?;
    for (_, checkpoint) in checkpoints(from)? {
        link_tree(&checkpoint, &beside(&checkpoint, to))?;
    }
    let latest = latest.as_deref().and_then(Path::file_name);
    let latest = latest.map(|name| name.to_string_lossy().into_owned());
    match latest.filter(|name| to.join(name).is_dir()) {
        Some(name) => Ok(Some(name)),
        None if latest_checkpoint(from)?.is_none() => Ok(None),
        // It was replaced between the two looks at the folder.
        None => Err(FileError::cannot("find the last checkpoint in", from)(
            io::ErrorKind::NotFound.into(),
        )
        .into()),
    }
}

/// A file's name in another folder.
fn beside(path: &Path, folder: &Path) -> PathBuf {
    folder.join(path.file_name().unwrap_or_default())
}

/// The same tree under another name, with links to the same files, which nobody changes once they
/// are there. Where the file system has no links, with copies. What is unfinished is left out.
fn link_tree(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::create_dir_all(to).map_err(FileError::cannot("make the directory", to))?;
    for entry in fs::read_dir(from).map_err(FileError::cannot("list", from))? {
        let entry = entry.map_err(FileError::cannot("list", from))?.path();
        let name = beside(&entry, to);
        if entry.extension().is_some_and(|end| end == "partial") {
            continue;
        }
        if entry.is_dir() {
            link_tree(&entry, &name)?;
            continue;
        }
        match fs::hard_link(&entry, &name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FileError::cannot("link", &entry)(error));
            }
            Err(_) => copy_atomic(&entry, &name)?,
        }
    }
    Ok(())
}

/// Removes a directory, if it is there.
pub(crate) fn remove(directory: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(FileError::cannot("remove", directory)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_files::write_atomic;

    #[test]
    fn the_next_attempt_has_what_the_last_one_reached() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let [from, to, new] =
            ["a/run", "b/run", "c/run"].map(|name| RunDirectory::new(directory.path().join(name)));
        assert!(!inherit(&from, &to)?, "there is nothing");
        write_atomic(from.metrics(), "rows")?;
        write_atomic(from.config(), "seed = 1")?;
        assert!(
            !inherit(&from, &to)?,
            "rows without a checkpoint count for nothing"
        );
        assert!(!to.path.join("metrics.jsonl").exists());

        let checkpoints = from.checkpoints();
        for step in ["step-2", "step-4"] {
            write_atomic(
                checkpoints.join(step).join("trainer_state/state.json"),
                step,
            )?;
        }
        write_atomic(checkpoints.join(".step-6.1-0.partial/half"), "")?;
        write_atomic(from.predictions(2), "predictions")?;
        update_latest(&checkpoints, "step-4")?;
        assert!(inherit(&from, &to)?);
        let read = |path: PathBuf| fs::read_to_string(path);
        assert_eq!(
            latest_checkpoint(to.checkpoints())?,
            Some(to.checkpoints().join("step-4"))
        );
        assert_eq!(
            read(to.checkpoints().join("step-2/trainer_state/state.json"))?,
            "step-2"
        );
        assert_eq!(read(to.metrics())?, "rows");
        assert_eq!(read(to.config())?, "seed = 1");
        assert_eq!(read(to.predictions(2))?, "predictions");
        assert!(!to.checkpoints().join(".step-6.1-0.partial").exists());

        // What becomes of the former's folder no longer matters.
        write_atomic(from.predictions(2), "changed")?;
        fs::remove_dir_all(&from.path)?;
        assert_eq!(read(to.predictions(2))?, "predictions");
        assert!(inherit(&to, &new)?);
        assert_eq!(
            read(new.checkpoints().join("step-4/trainer_state/state.json"))?,
            "step-4"
        );
        Ok(())
    }
}
