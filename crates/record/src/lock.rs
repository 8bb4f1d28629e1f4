//! Who may write to a run: one process at a time, and only while the run's directory is in place.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use plw_files::FileError;

use crate::RecordError;

/// A directory that only this process fills, until this is dropped. The operating system releases
/// the lock when the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    path: PathBuf,
    /// The directory, open and locked, where the system opens directories.
    directory: Option<File>,
    is_locked: bool,
}

impl DirectoryLock {
    /// Makes a directory where it is missing, and locks it. Where the system has no locks of
    /// directories, nothing is locked.
    ///
    /// # Errors
    ///
    /// If another process holds the lock, or the operating system refuses.
    pub fn take(path: &Path) -> Result<Self, RecordError> {
        std::fs::create_dir_all(path).map_err(FileError::cannot("make the directory", path))?;
        let directory = cfg!(unix).then(|| File::open(path)).transpose();
        let directory = directory.map_err(FileError::cannot("open", path))?;
        let locked = directory.as_ref().map(|directory| lock(directory, path));
        Ok(Self {
            path: path.to_path_buf(),
            is_locked: locked.transpose()?.unwrap_or(false),
            directory,
        })
    }

    /// Checks that the path still names the directory that is locked.
    fn check(&self) -> Result<(), RecordError> {
        match &self.directory {
            Some(directory) => require_same(&self.path, directory),
            None if self.path.is_dir() => Ok(()),
            None => Err(displaced(&self.path)),
        }
    }
}

/// Held while a process writes to a run.
///
/// Both the directory and the file `.lock` in it are locked. The directory's lock stays with it
/// whatever its name and whatever becomes of `.lock`; but network file systems lock only files.
#[derive(Debug)]
pub struct RunLock {
    directory: DirectoryLock,
    file: File,
}

impl RunLock {
    /// Locks a run's directory, which is made where it is missing.
    pub(crate) fn take(path: &Path) -> Result<Self, RecordError> {
        let directory = DirectoryLock::take(path)?;
        let name = path.join(LOCK);
        if name.is_symlink() {
            return Err(RecordError::Link { path: name });
        }
        // Opening a pipe would wait for its other end.
        if name.exists() && !name.is_file() {
            let problem = io::Error::other("it is not a regular file: remove it");
            return Err(FileError::cannot("lock", &name)(problem).into());
        }
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(FileError::cannot("make", &name))?;
        lock(&file, path)?;
        Ok(Self { directory, file })
    }

    /// Whether a process writes to a run in this directory, as far as the file system tells.
    pub(crate) fn is_held(path: &Path) -> bool {
        // Others may look at the same time, and whoever takes the lock meanwhile tries again.
        let is_locked =
            |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let directory = cfg!(unix).then(|| File::open(path).ok()).flatten();
        let file = File::open(path.join(LOCK))
            .ok()
            .filter(|_| path.join(LOCK).is_file());
        directory.is_some_and(is_locked) || file.is_some_and(is_locked)
    }

    /// Checks that the run's path still names the directory that is locked. Called before each
    /// write, because a write by path would make a new directory where the old one is gone, and
    /// would leave half of a run in each.
    pub fn check(&self) -> Result<(), RecordError> {
        self.directory.check()?;
        match cfg!(unix) && !self.directory.is_locked {
            true => require_same(&self.directory.path.join(LOCK), &self.file),
            false => Ok(()),
        }
    }
}

/// The file that is locked.
const LOCK: &str = ".lock";

/// How often a lock is tried that another process has. One that only looks has it for a moment.
const TRIES: u32 = 5;

/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Locks what is open, and says whether that was possible. Some network file systems have no locks:
/// the run is then unguarded, but works.
fn lock(file: &File, run: &Path) -> Result<bool, RecordError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => sleep(TRY_AGAIN),
            Err(TryLockError::Error(_)) => return Ok(false),
        }
    }
    Err(RecordError::Locked {
        path: run.to_path_buf(),
    })
}

/// Checks that a path names what is open.
#[cfg(unix)]
fn require_same(path: &Path, open: &File) -> Result<(), RecordError> {
    use std::os::unix::fs::MetadataExt;

    let identity = |of: std::fs::Metadata| (of.dev(), of.ino());
    let held = open.metadata().map(identity);
    match (std::fs::metadata(path).map(identity), held) {
        (Ok(named), Ok(held)) if named == held => Ok(()),
        _ => Err(displaced(path)),
    }
}

#[cfg(not(unix))]
fn require_same(path: &Path, _open: &File) -> Result<(), RecordError> {
    match path.exists() {
        true => Ok(()),
        false => Err(displaced(path)),
    }
}

fn displaced(path: &Path) -> RecordError {
    RecordError::Displaced {
        path: path.to_path_buf(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::RunDirectory;
    use std::fs;

    #[test]
    fn what_becomes_of_the_directory_and_its_lock_is_noticed()
    -> Result<(), Box<dyn std::error::Error>> {
        type Change = fn(&Path) -> std::io::Result<()>;
        let cases: [(&str, Change, bool); 4] = [
            ("nothing", |_| Ok(()), true),
            // The directory itself is locked too.
            (
                "its lock removed",
                |run| fs::remove_file(run.join(LOCK)),
                true,
            ),
            (
                "moved",
                |run| fs::rename(run, run.with_extension("old")),
                false,
            ),
            (
                "replaced",
                |run| fs::remove_dir_all(run).and_then(|()| fs::create_dir(run)),
                false,
            ),
        ];
        for (name, change, in_place) in cases {
            let directory = tempfile::tempdir()?;
            let run = RunDirectory::new(directory.path().join("run"));
            let lock = run.create()?;
            change(&run.path)?;
            let checked = lock.check();
            assert_eq!(checked.is_ok(), in_place, "{name}: {checked:?}");
            if in_place {
                let second = run.create();
                assert!(matches!(second, Err(RecordError::Locked { .. })), "{name}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_lock_that_is_a_link_is_refused_and_its_target_left_alone()
    -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let target = directory.path().join("thesis.tex");
        fs::write(&target, "years of work")?;
        let run = RunDirectory::new(directory.path().join("run"));
        fs::create_dir(&run.path)?;
        std::os::unix::fs::symlink(&target, run.path.join(LOCK))?;
        let error = run.create().expect_err("refused").to_string();
        assert!(error.contains(".lock is a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(&target)?, "years of work");
        Ok(())
    }
}
