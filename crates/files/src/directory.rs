//! Directories that are written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::FileError;
use crate::partial::{Partial, remove_partial_of};

/// Writes a directory so that `path` names nothing, the old directory, or everything that `write`
/// puts into the temporary directory that it is given. Every file and directory in it is synced
/// before the rename. Creates missing parent directories.
///
/// Removes first what killed processes left unfinished of it, so only one process may write `path`
/// at a time.
///
/// # Errors
///
/// If the operating system refuses or the closure fails. The old directory then stays, and the
/// temporary one is removed.
pub fn write_directory_atomic<T, E: From<FileError>>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let path = path.as_ref();
    let parent = make_parent(path)?;
    remove_partial_of(path)?;
    let (partial, ()) = Partial::claim(path, |candidate| fs::create_dir(candidate))?;
    let value = write(&partial.path)?;
    sync_tree(&partial.path)?;
    if path.exists() {
        // No portable call swaps two directories: between these two renames `path` names nothing.
        let (replaced, ()) = Partial::claim(path, |candidate| fs::rename(path, candidate))?;
        rename_directory(&partial.path, path)?;
        drop(replaced);
    } else {
        rename_directory(&partial.path, path)?;
    }
    sync_directory(&parent)?;
    Ok(value)
}

/// Removes a directory so that a kill leaves all of it or nothing under its name: it gets a
/// temporary name first.
///
/// # Errors
///
/// If the operating system refuses.
pub fn remove_directory_atomic(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    let (partial, ()) = Partial::claim(path, |candidate| fs::rename(path, candidate))?;
    fs::remove_dir_all(&partial.path).map_err(FileError::cannot("remove", &partial.path))
}

fn rename_directory(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::cannot("rename a finished directory to", to))
}

/// Creates the directory that holds `path` where it is missing, and returns it: the current
/// directory for a bare name.
pub(crate) fn make_parent(path: &Path) -> Result<PathBuf, FileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(FileError::cannot("make the directory", &parent))?;
    Ok(parent)
}

/// Syncs every file and directory below `path`, and `path` itself.
fn sync_tree(path: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(path).map_err(FileError::cannot("list", path))? {
        let entry = entry.map_err(FileError::cannot("list", path))?.path();
        if entry.is_dir() {
            sync_tree(&entry)?;
        } else {
            sync_content(&entry)?;
        }
    }
    sync_directory(path)
}

/// Makes the content of a file durable. Windows syncs only files that are open for writing.
pub(crate) fn sync_content(path: &Path) -> Result<(), FileError> {
    OpenOptions::new()
        .read(true)
        .write(cfg!(windows))
        .open(path)
        .and_then(|file| file.sync_all())
        .map_err(FileError::cannot("sync", path))
}

/// Makes the names in a directory durable. Windows has no such call and needs none.
pub(crate) fn sync_directory(path: &Path) -> Result<(), FileError> {
    if cfg!(unix) {
        File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(FileError::cannot("sync", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partial::{final_name, names};
    use crate::write_atomic;

    #[test]
    fn the_final_name_is_free_while_the_temporary_one_is_written()
    -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("step-3");
        write_directory_atomic(&path, |temporary| {
            assert!(!path.exists() && final_name(temporary) == Some("step-3"));
            assert_eq!(temporary.parent(), path.parent());
            write_atomic(temporary.join("trainer_state/state.json"), "{}")
        })?;
        assert_eq!(names(directory.path()), ["step-3"]);
        assert_eq!(fs::read(path.join("trainer_state/state.json"))?, b"{}");
        Ok(())
    }

    #[test]
    fn a_directory_is_replaced_whole_and_leftovers_go() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("step-3");
        fs::create_dir_all(directory.path().join(".step-3.77-0.partial/weights"))?;
        fs::create_dir_all(path.join("stale"))?;
        write_directory_atomic(&path, |temporary| {
            write_atomic(temporary.join("fresh"), "1")
        })?;
        assert_eq!(names(directory.path()), ["step-3"]);
        assert_eq!(names(&path), ["fresh"]);
        let failed = write_directory_atomic(&path, |temporary| -> Result<(), FileError> {
            write_atomic(temporary.join("half"), "1")?;
            Err(FileError::cannot("finish", &path)(
                std::io::ErrorKind::Other.into(),
            ))
        });
        assert!(failed.is_err());
        assert_eq!(names(directory.path()), ["step-3"]);
        assert_eq!(names(&path), ["fresh"]);
        Ok(())
    }

    #[test]
    fn a_removed_directory_leaves_nothing() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("step-3");
        write_atomic(path.join("weights"), "1")?;
        remove_directory_atomic(&path)?;
        assert!(names(directory.path()).is_empty());
        let message = remove_directory_atomic(&path)
            .expect_err("gone")
            .to_string();
        assert!(message.contains("step-3"), "{message}");
        Ok(())
    }
}
