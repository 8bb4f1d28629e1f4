//! Folders that a command will write to.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr};

/// A file that is made and removed at once. A killed process may leave it; the next one removes it.
const PROBE: &str = ".can-be-written.partial";

/// Checks that files can be written in a folder, or where it is to be made, and leaves everything
/// as it was: hours of work must not end at a folder that takes no results. It makes no folder,
/// because to remove that again could take it away from another process.
pub(crate) fn check_writable(folder: &Path) -> Result<()> {
    let is_there = |folder: &&Path| folder.as_os_str().is_empty() || folder.exists();
    let nearest = folder.ancestors().find(is_there).unwrap_or(folder);
    let probe = nearest.join(PROBE);
    let mut options = OpenOptions::new();
    let made = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(&probe);
    let removed = made.and_then(|_| match fs::remove_file(&probe) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    });
    removed
        .into_diagnostic()
        .wrap_err_with(|| format!("results cannot be written to {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| folder.path().join(name);
        check_writable(&path("runs/first")).expect("it can be made");
        assert!(!path("runs").exists());
        fs::create_dir(path("runs")).expect("made");
        check_writable(&path("runs")).expect("it is there");
        assert_eq!(fs::read_dir(path("runs")).expect("there").count(), 0);
        fs::write(path("file"), "").expect("written");
        for taken in ["file", "file/below"] {
            let error = format!("{:?}", check_writable(&path(taken)).expect_err("a file"));
            assert!(error.contains("file"), "{error}");
        }
    }

    #[test]
    fn processes_that_start_at_once_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("runs/first");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        check_writable(&path).expect("it can be made");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
    }
}
