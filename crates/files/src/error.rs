//! The one error of this crate: an action that failed on a path.

use std::io;
use std::path::{Path, PathBuf};

/// A file or directory could not be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct FileError {
    /// What was tried, as in "cannot {action} {path}".
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The reason that the operating system gives.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: names the action and the path, as in `map_err(FileError::cannot("read",
    /// path))`.
    pub fn cannot(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self {
            action,
            path,
            source,
        }
    }
}
