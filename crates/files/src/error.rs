//! The one error of this crate: an action that failed on a path.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::partial::final_name;

/// A file or directory could not be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}{}", shown(action, path).display(), remedy(source))]
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

/// A path with the final names of what is unfinished, under which users know it. What is to be
/// removed is known by the name that it has.
fn shown(action: &str, path: &Path) -> PathBuf {
    match action.starts_with("remove") {
        true => path.to_path_buf(),
        false => path
            .iter()
            .map(|part| final_name(Path::new(part)).map_or(part, OsStr::new))
            .collect(),
    }
}

/// What to do, as far as the kind of error tells.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => "; free some space, or choose a folder on another disk",
        io::ErrorKind::QuotaExceeded => "; free some space, or choose a folder of another quota",
        io::ErrorKind::FileTooLarge => {
            "; raise the limit on the size of files (`ulimit -f`), or choose another disk"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; check its permissions, or choose another path"
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "; a file is where a folder should be: move it away, or choose another path"
        }
        io::ErrorKind::IsADirectory => {
            "; a folder is where a file should be: move it away, or choose another path"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_final_path_and_says_what_to_do() {
        let path = Path::new("run/.step-4.77-0.partial/.model.safetensors.77-1.partial");
        for (action, kind, says) in [
            (
                "write",
                io::ErrorKind::StorageFull,
                "cannot write run/step-4/model.safetensors: no storage space; free some space, or \
                 choose a folder on another disk",
            ),
            (
                "list",
                io::ErrorKind::NotADirectory,
                "cannot list run/step-4/model.safetensors: not a directory; a file is where a \
                 folder should be: move it away, or choose another path",
            ),
            (
                "remove",
                io::ErrorKind::Other,
                "cannot remove run/.step-4.77-0.partial/.model.safetensors.77-1.partial: other \
                 error",
            ),
        ] {
            let error = FileError::cannot(action, path)(kind.into());
            assert_eq!(error.to_string(), says);
        }
    }
}
