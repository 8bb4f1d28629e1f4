//! Where things lie in the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic, Result};

use crate::process;

/// The checkout that this xtask belongs to.
pub(crate) struct Workspace {
    /// Its root, which child processes run in: settings name files below it by relative paths.
    pub(crate) root: PathBuf,
}

impl Workspace {
    /// The checkout of the running xtask.
    pub(crate) fn find() -> Self {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().unwrap_or(&package);
        Self {
            root: root.to_path_buf(),
        }
    }

    /// A path below the root.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// A program to be run in the root.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        command
    }

    /// The commit that is checked out, with `-dirty` where tracked files differ from it, but for
    /// results, of which a check may just have written one; `unknown` without git.
    pub(crate) fn commit(&self) -> String {
        let git = |arguments: &[&str]| process::output(self.command("git").args(arguments)).ok();
        let Some(commit) = git(&["rev-parse", "HEAD"]) else {
            return "unknown".to_string();
        };
        let changes = [
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            ".",
            ":!results",
        ];
        let changes = git(&changes).unwrap_or_default();
        let dirty = if changes.trim().is_empty() {
            ""
        } else {
            "-dirty"
        };
        format!("{}{dirty}", commit.trim())
    }
}

/// A path as the user gave it, made independent of the current directory; it need not exist.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).into_diagnostic()
}
