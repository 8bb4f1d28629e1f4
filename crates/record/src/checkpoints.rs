//! The checkpoints of a run: directories `step-N`, and `latest`, a file that names one of them.

use std::fs;
use std::path::{Path, PathBuf};

use plw_files::{FileError, read_text, remove_directory_atomic, write_atomic};

use crate::RecordError;

/// The file that names the checkpoint to resume from.
const LATEST: &str = "latest";

/// Bytes of the longest name that it holds.
const LONGEST_NAME: u64 = 256;

/// The directory name of a step's checkpoint: `step-N`.
pub fn checkpoint_name(step: u64) -> String {
    format!("step-{step}")
}

/// The step of a checkpoint's directory name. None if it is not one.
pub fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (checkpoint_name(step) == name).then_some(step)
}

/// Makes `latest` name a complete checkpoint of `checkpoints_dir`, atomically.
pub fn update_latest(checkpoints_dir: impl AsRef<Path>, name: &str) -> Result<(), RecordError> {
    let latest = checkpoints_dir.as_ref().join(LATEST);
    Ok(write_atomic(latest, format!("{name}\n"))?)
}

/// The checkpoint to resume from: the one that `latest` names. If the process was killed before it
/// wrote `latest`, the complete checkpoint of the highest step. `None` if there is none.
pub fn latest_checkpoint(
    checkpoints_dir: impl AsRef<Path>,
) -> Result<Option<PathBuf>, RecordError> {
    let checkpoints_dir = checkpoints_dir.as_ref();
    let pointer = checkpoints_dir.join(LATEST);
    match read_text(&pointer, LONGEST_NAME) {
        Ok(name) => {
            let name = name.trim();
            let named = checkpoints_dir.join(name);
            if step_of(name).is_some() && named.is_dir() {
                return Ok(Some(named));
            }
        }
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(checkpoints(checkpoints_dir)?.pop().map(|(_, path)| path))
}

/// The complete checkpoints `step-N`, by step. Empty if there is no such directory.
pub fn checkpoints(checkpoints_dir: impl AsRef<Path>) -> Result<Vec<(u64, PathBuf)>, RecordError> {
    let checkpoints_dir = checkpoints_dir.as_ref();
    let entries = match fs::read_dir(checkpoints_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError::cannot("list", checkpoints_dir)(source).into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(FileError::cannot("list", checkpoints_dir))?
            .path();
        let step = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(step_of);
        if let Some(step) = step
            && path.is_dir()
        {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the oldest checkpoints until `limit` are left. Never removes the one that `latest`
/// names, nor the `protected` steps (such as the best one). Both count toward the limit.
pub fn remove_old_checkpoints(
    checkpoints_dir: impl AsRef<Path>,
    limit: usize,
    protected: &[u64],
) -> Result<(), RecordError> {
    let checkpoints_dir = checkpoints_dir.as_ref();
    let latest = latest_checkpoint(checkpoints_dir)?;
    let all = checkpoints(checkpoints_dir)?;
    let surplus = all.len().saturating_sub(limit);
    let removable = all
        .iter()
        .filter(|(step, path)| !protected.contains(step) && Some(path) != latest.as_ref());
    for (_, path) in removable.take(surplus) {
        // A kill in the middle must not leave a checkpoint that looks complete.
        remove_directory_atomic(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_checkpoints_count() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        assert_eq!(latest_checkpoint(path.join("none"))?, None);
        for name in [
            "step-2",
            "step-10",
            ".step-20.9-0.partial",
            "step-040",
            "other",
        ] {
            fs::create_dir(path.join(name))?;
        }
        fs::write(path.join("step-30"), "a file")?;
        let steps: Vec<u64> = checkpoints(path)?
            .into_iter()
            .map(|(step, _)| step)
            .collect();
        assert_eq!(steps, [2, 10]);
        assert_eq!(latest_checkpoint(path)?, Some(path.join("step-10")));
        update_latest(path, "step-2")?;
        assert_eq!(latest_checkpoint(path)?, Some(path.join("step-2")));
        for name in ["step-99", "other", "../..", ""] {
            update_latest(path, name)?;
            let latest = latest_checkpoint(path)?;
            assert_eq!(latest, Some(path.join("step-10")), "{name}");
        }
        Ok(())
    }

    #[test]
    fn the_latest_and_the_best_are_kept() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        for step in 1..=5 {
            fs::create_dir(path.join(checkpoint_name(step)))?;
        }
        update_latest(path, &checkpoint_name(5))?;
        let steps = || -> Result<Vec<u64>, RecordError> {
            Ok(checkpoints(path)?
                .into_iter()
                .map(|(step, _)| step)
                .collect())
        };
        remove_old_checkpoints(path, 3, &[1])?;
        assert_eq!(steps()?, [1, 4, 5]);
        remove_old_checkpoints(path, 1, &[1])?;
        assert_eq!(steps()?, [1, 5]);
        Ok(())
    }
}
