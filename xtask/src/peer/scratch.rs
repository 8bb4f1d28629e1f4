//! The folder that a task may fill and that nobody keeps: logs, run directories, initial adapters.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr};

/// A folder below `target/`.
#[derive(Debug, Clone)]
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.join(below)
    }

    /// Where a process's output goes, without the extension.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path("logs").join(name)
    }

    /// Where a run leaves its records: emptied, so that nothing of an earlier run is read.
    pub(crate) fn empty_run(&self, name: &str) -> Result<PathBuf> {
        let run = self.path("runs").join(name);
        remove(&run)?;
        Ok(run)
    }
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot remove {}", folder.display())),
        _ => Ok(()),
    }
}
