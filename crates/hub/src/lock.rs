//! One process at a time downloads a file: the lock that huggingface_hub takes too.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::HubError;

/// Holds the lock until it is dropped or the process ends.
pub(crate) enum Lock {
    /// Nobody else has it.
    Held { _file: File },
    /// The file system knows no locks.
    Unsupported,
}

impl Lock {
    /// Takes the lock that a file stands for; calls `waiting` if another process has it.
    pub(crate) fn take(path: &Path, waiting: impl Fn()) -> Result<Self, HubError> {
        let failed = || HubError::cache(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(HubError::cache(parent))?;
        }
        loop {
            let file = open(path).map_err(failed())?;
            match locked(&file, &waiting) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Self::Unsupported);
                }
                Err(error) => return Err(failed()(error)),
            }
            // The process that had it may have removed the file, and a third made a new one.
            if is_named(&file).map_err(failed())? {
                return Ok(Self::Held { _file: file });
            }
        }
    }
}

/// Opens the file of a lock, which may be another user's.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o664);
    match options.open(path) {
        Err(denied) if denied.kind() == ErrorKind::PermissionDenied => {
            File::open(path).map_err(|_| denied)
        }
        opened => opened,
    }
}

fn locked(file: &File, waiting: impl Fn()) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => return Ok(()),
        Err(TryLockError::WouldBlock) => waiting(),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    loop {
        match file.lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(unix)]
fn is_named(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() > 0)
}

#[cfg(not(unix))]
fn is_named(_file: &File) -> io::Result<bool> {
    Ok(true)
}
