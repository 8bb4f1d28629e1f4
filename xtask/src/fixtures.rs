//! `cargo xtask fixtures`: the golden files of tests, made by the Python scripts beside them.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::process;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A Python that has what the scripts import (torch, transformers, peft, pyarrow, jinja2).
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Only the scripts whose path contains this.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    let mut scripts = scripts(workspace)?;
    if let Some(name) = &flags.name {
        scripts.retain(|script| script.to_string_lossy().contains(name.as_str()));
    }
    if scripts.is_empty() {
        return Err(miette!("no fixture script has such a name"));
    }
    for script in &scripts {
        eprintln!("{}", script.display());
        let mut command = workspace.command(&flags.python);
        command.arg(script);
        process::run(&mut command, "the script's own heading says what it needs")?;
    }
    Ok(())
}

/// The scripts `xtask/fixtures/*.py` and `crates/*/tests/fixtures/*.py`, relative to the workspace.
fn scripts(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut folders = vec![workspace.path("xtask/fixtures")];
    for entry in list(&workspace.path("crates"))? {
        folders.push(entry.join("tests/fixtures"));
    }
    let mut scripts = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for path in list(folder)? {
            if path.extension().is_some_and(|extension| extension == "py") {
                scripts.push(
                    path.strip_prefix(&workspace.root)
                        .unwrap_or(&path)
                        .to_path_buf(),
                );
            }
        }
    }
    scripts.sort();
    Ok(scripts)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot list {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_beside_the_tests_that_use_them() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let workspace = Workspace {
            root: directory.path().to_path_buf(),
        };
        for file in [
            "crates/model/tests/fixtures/make.py",
            "crates/model/tests/fixtures/config.json",
            "crates/eval/a.py",
        ] {
            plw_files::write_atomic(workspace.path(file), "").expect("written");
        }
        assert_eq!(
            scripts(&workspace).expect("listed"),
            [Path::new("crates/model/tests/fixtures/make.py")]
        );
    }
}
