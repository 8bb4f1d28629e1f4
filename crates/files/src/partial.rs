//! Temporary names: how an unfinished file or directory is called, claimed and cleaned up.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::FileError;

/// The end of the name of an unfinished file or directory.
const PARTIAL: &str = ".partial";

/// An unfinished file or directory. Dropping it removes it, unless it was renamed before.
pub(crate) struct Partial {
    pub(crate) path: PathBuf,
}

impl Partial {
    /// Makes something under the first free temporary name beside `path`.
    pub(crate) fn claim<T>(
        path: &Path,
        make: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<(Self, T), FileError> {
        let mut number = 0u32;
        loop {
            let mut name = OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(format!(".{}-{number}{PARTIAL}", std::process::id()));
            let candidate = path.with_file_name(name);
            match make(&candidate) {
                Ok(made) => return Ok((Self { path: candidate }, made)),
                Err(error) if is_taken(&error) => number += 1,
                Err(source) => return Err(FileError::cannot("make", &candidate)(source)),
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename nothing is left to remove. If the removal fails, the name still says
        // that the file is unfinished.
        let _ = remove(&self.path);
    }
}

/// Removes what killed processes left unfinished in `directory` (not below it). A missing directory
/// holds nothing.
///
/// # Errors
///
/// If the operating system refuses.
pub fn remove_partial(directory: impl AsRef<Path>) -> Result<(), FileError> {
    let directory = directory.as_ref();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(FileError::cannot("list", directory)(source)),
    };
    for entry in entries {
        let path = entry.map_err(FileError::cannot("list", directory))?.path();
        if is_partial(&path) {
            remove(&path).map_err(FileError::cannot("remove the unfinished", &path))?;
        }
    }
    Ok(())
}

/// Whether this crate gives such a name to unfinished files and directories.
pub(crate) fn is_partial(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with('.') && name.ends_with(PARTIAL))
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
    )
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// The names in a directory, sorted.
#[cfg(test)]
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the test made it");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the test made it").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
