//! The plw binary: built once, then run.

use std::path::PathBuf;
use std::process::Command;

use miette::Result;

use crate::process;
use crate::workspace::Workspace;

/// Builds the release binary, with cargo's own progress, and says where it is.
///
/// # Errors
///
/// Where it does not build.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("building plw (the first time takes minutes)");
    let mut command = workspace.command(PathBuf::from(cargo));
    command.args(["build", "--release", "--locked", "--package", "plw"]);
    process::run(&mut command, "mend what the compiler says above")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.path("target"), |target| workspace.path(target));
    let name = format!("plw{}", std::env::consts::EXE_SUFFIX);
    Ok(target.join("release").join(name))
}

/// What `plw --version` says.
///
/// # Errors
///
/// Where it cannot be run.
pub(crate) fn version(plw: &PathBuf) -> Result<String> {
    let text = process::output(Command::new(plw).arg("--version"))?;
    Ok(text.trim().to_string())
}
