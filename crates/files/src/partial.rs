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
    remove_where(directory.as_ref(), |_| true)
}

/// Removes what killed processes left unfinished of `path` alone. No other process may be writing
/// it.
///
/// # Errors
///
/// If the operating system refuses.
pub fn remove_partial_of(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    let name = path.file_name().unwrap_or_default();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    remove_where(parent, |unfinished| name == unfinished)
}

/// Removes the unfinished files and directories whose final name is wanted.
fn remove_where(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), FileError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(FileError::cannot("list", directory)(source)),
    };
    for entry in entries {
        let path = entry.map_err(FileError::cannot("list", directory))?.path();
        if final_name(&path).is_some_and(&wanted) {
            remove(&path).map_err(FileError::cannot("remove the unfinished", &path))?;
        }
    }
    Ok(())
}

/// The final name of what this crate calls `.NAME.PROCESS-NUMBER.partial` while it is unfinished.
/// None for other names.
pub(crate) fn final_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_prefix('.')?;
    let (name, maker) = name.strip_suffix(PARTIAL)?.rsplit_once('.')?;
    let (process, number) = maker.split_once('-')?;
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    (is_number(process) && is_number(number)).then_some(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_crate_are_cleaned_up() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let kept = [".a.partial", ".b.1-x.partial", "c.1-0.partial", "d.partial"];
        for name in kept {
            fs::write(path.join(name), "a user's")?;
        }
        for name in [".a.txt.12-0.partial", ".step-3.7-1.partial"] {
            fs::create_dir(path.join(name))?;
            fs::write(path.join(name).join("half"), "")?;
        }
        remove_partial_of(path.join("a.txt"))?;
        assert!(!path.join(".a.txt.12-0.partial").exists());
        assert!(path.join(".step-3.7-1.partial").exists());
        remove_partial(path)?;
        assert_eq!(names(path), kept);
        remove_partial(path.join("none"))?;
        Ok(())
    }
}
