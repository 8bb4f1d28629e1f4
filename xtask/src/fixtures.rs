//! `cargo xtask fixtures`: the golden values of tests, made by Python scripts.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::process;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A Python that has what the scripts import (torch, transformers, peft, tokenizers, jinja2,
    /// scipy).
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
        return Err(miette!(
            help = "leave the name out to run all of xtask/fixtures/*.py",
            "no script in xtask/fixtures has {} in its path",
            flags.name.as_deref().unwrap_or_default()
        ));
    }
    for script in &scripts {
        eprintln!("{}", script.display());
        let mut command = workspace.command(&flags.python);
        command.arg(script);
        process::run(&mut command, "the script's own heading says what it needs")?;
    }
    Ok(())
}

/// The scripts `xtask/fixtures/*.py`, relative to the workspace.
fn scripts(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = Path::new("xtask/fixtures");
    let entries = std::fs::read_dir(workspace.path(folder)).into_diagnostic();
    let entries = entries.wrap_err_with(|| format!("cannot list {}", folder.display()))?;
    let mut scripts = Vec::new();
    for entry in entries {
        let script = folder.join(entry.into_diagnostic()?.file_name());
        if script
            .extension()
            .is_some_and(|extension| extension == "py")
        {
            scripts.push(script);
        }
    }
    scripts.sort();
    Ok(scripts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_scripts_are_found() {
        let scripts = scripts(&Workspace::find()).expect("listed");
        let expected = ["golden_llama.py", "nf4.py", "prompts.py", "ratio.py"];
        assert_eq!(
            scripts,
            expected.map(|name| Path::new("xtask/fixtures").join(name))
        );
    }
}
