//! Writing that survives a kill at any moment: a final name always names something complete.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::RecordError;

/// What ends the name of a file or directory that is not complete yet.
const PARTIAL: &str = ".partial";

/// Writes a file so that `path` names either what was there before or all of `bytes`: a temporary name in the same
/// directory, fsync, rename, fsync of the directory. Missing parent directories are made.
pub fn write_atomic(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<(), RecordError> {
    let path = path.as_ref();
    write_atomic_with(path, |writer| {
        writer
            .write_all(bytes.as_ref())
            .map_err(RecordError::io("write", path))
    })
}

/// As [`write_atomic`], with the bytes from a closure. If the closure fails, nothing changes on disk.
pub fn write_atomic_with<T, E: From<RecordError>>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    let path = path.as_ref();
    let parent = parent_of(path);
    fs::create_dir_all(&parent).map_err(RecordError::io("make the directory", &parent))?;
    let (partial, file) = Partial::claim(path, |candidate| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(candidate)
    })?;
    let mut writer = BufWriter::new(file);
    let value = write(&mut writer)?;
    writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(RecordError::io("write", &partial.path))?;
    fs::rename(&partial.path, path).map_err(RecordError::io("rename a finished file to", path))?;
    sync_directory(&parent)?;
    Ok(value)
}

/// Writes a value as indented JSON with a final newline, atomically.
pub fn write_json_atomic(
    path: impl AsRef<Path>,
    value: &impl serde::Serialize,
) -> Result<(), RecordError> {
    let path = path.as_ref();
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| RecordError::ToJson {
        path: path.to_path_buf(),
        source,
    })?;
    bytes.push(b'\n');
    write_atomic(path, bytes)
}

/// Writes a directory so that `path` names nothing, what was there before, or all that `write` puts into the temporary
/// directory it is given: every file and directory in it is synced, then it is renamed. A directory already at `path`
/// is replaced. What killed processes left unfinished beside `path` is removed first, so one process writes there at
/// a time. If the closure fails, its directory is removed.
pub fn write_directory_atomic<T, E: From<RecordError>>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let path = path.as_ref();
    let parent = parent_of(path);
    fs::create_dir_all(&parent).map_err(RecordError::io("make the directory", &parent))?;
    remove_partial(&parent)?;
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

/// Removes what killed processes left unfinished in `directory` (not below it). A missing directory holds nothing.
pub fn remove_partial(directory: impl AsRef<Path>) -> Result<(), RecordError> {
    let directory = directory.as_ref();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(RecordError::io("list", directory)(source)),
    };
    for entry in entries {
        let path = entry.map_err(RecordError::io("list", directory))?.path();
        if is_partial(&path) {
            remove(&path).map_err(RecordError::io("remove the unfinished", &path))?;
        }
    }
    Ok(())
}

/// Whether a name is one that this module gives to unfinished files and directories.
pub(crate) fn is_partial(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with('.') && name.ends_with(PARTIAL))
}

/// An unfinished file or directory; removed when dropped, unless it was renamed by then.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Makes something under the first free temporary name beside `path`.
    fn claim<T>(
        path: &Path,
        make: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<(Self, T), RecordError> {
        let mut number = 0u32;
        loop {
            let mut name = OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(format!(".{}-{number}{PARTIAL}", std::process::id()));
            let candidate = path.with_file_name(name);
            match make(&candidate) {
                Ok(made) => return Ok((Self { path: candidate }, made)),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    number += 1;
                }
                Err(source) => return Err(RecordError::io("make", &candidate)(source)),
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already where the rename went well; where it cannot be removed, its name says that it is unfinished.
        let _ = remove(&self.path);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn rename_directory(from: &Path, to: &Path) -> Result<(), RecordError> {
    fs::rename(from, to).map_err(RecordError::io("rename a finished directory to", to))
}

/// The directory that holds `path`; the current one for a bare name.
fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Syncs every file and directory below `path`, and `path` itself.
fn sync_tree(path: &Path) -> Result<(), RecordError> {
    for entry in fs::read_dir(path).map_err(RecordError::io("list", path))? {
        let entry = entry.map_err(RecordError::io("list", path))?.path();
        if entry.is_dir() {
            sync_tree(&entry)?;
        } else {
            // Windows syncs only what is open for writing.
            OpenOptions::new()
                .read(true)
                .write(cfg!(windows))
                .open(&entry)
                .and_then(|file| file.sync_all())
                .map_err(RecordError::io("sync", &entry))?;
        }
    }
    sync_directory(path)
}

/// Makes the names in a directory durable; Windows has no such call and needs none.
fn sync_directory(path: &Path) -> Result<(), RecordError> {
    if cfg!(unix) {
        File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(RecordError::io("sync", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .expect("the test made it")
            .map(|entry| {
                let entry = entry.expect("the test made it");
                entry.file_name().to_string_lossy().into_owned()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("summary.json");
        write_atomic(&path, "old")?;
        let failed = write_atomic_with(&path, |writer| -> Result<(), RecordError> {
            writer
                .write_all(b"half of the new")
                .map_err(RecordError::io("write", &path))?;
            Err(RecordError::Locked { path: path.clone() })
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path)?, b"old");
        assert_eq!(names(directory.path()), ["summary.json"]);
        write_atomic(&path, "new")?;
        assert_eq!(fs::read(&path)?, b"new");
        Ok(())
    }

    #[test]
    fn the_final_name_is_free_while_the_temporary_one_is_written()
    -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("step-3");
        write_directory_atomic(&path, |temporary| {
            assert!(!path.exists() && is_partial(temporary));
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
        fs::create_dir_all(directory.path().join(".step-9.77-0.partial/weights"))?;
        fs::create_dir_all(path.join("stale"))?;
        write_directory_atomic(&path, |temporary| {
            write_atomic(temporary.join("fresh"), "1")
        })?;
        assert_eq!(names(directory.path()), ["step-3"]);
        assert_eq!(names(&path), ["fresh"]);
        let failed = write_directory_atomic(&path, |temporary| -> Result<(), RecordError> {
            write_atomic(temporary.join("half"), "1")?;
            Err(RecordError::Locked { path: path.clone() })
        });
        assert!(failed.is_err());
        assert_eq!(names(directory.path()), ["step-3"]);
        assert_eq!(names(&path), ["fresh"]);
        Ok(())
    }
}
