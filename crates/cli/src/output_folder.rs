//! Folders that a command will write to.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_files::write_atomic;

/// Checks that files can be written in a folder, which need not be there yet, and leaves everything
/// as it was: hours of work must not end at a folder that takes no results.
pub(crate) fn check_writable(folder: &Path) -> Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    // A name that is cleaned up as unfinished, were the process killed before it removes it.
    let probe: PathBuf = folder.join(".can-be-written.partial");
    let written = write_atomic(&probe, []).into_diagnostic();
    let removed = written.and_then(|()| fs::remove_file(&probe).into_diagnostic());
    for made in missing {
        // Where it was not made there is nothing to remove.
        let _ = fs::remove_dir(made);
    }
    removed.wrap_err_with(|| format!("results cannot be written to {}", folder.display()))
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
}
