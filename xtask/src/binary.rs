//! The plw binary: built once, then run.

use std::path::{Path, PathBuf};
use std::process::Command;

use miette::Result;

use crate::process;
use crate::workspace::Workspace;

/// The device that every plw has.
pub(crate) const CPU: &str = "cpu";

/// Builds the release binary, with cargo's own progress, and says where it is. It is built
/// with what `device` needs beside the CPU.
pub(crate) fn build(workspace: &Workspace, device: &str) -> Result<PathBuf> {
    eprintln!("building plw (the first time takes minutes)");
    let mut command = cargo(workspace);
    command.args(["build", "--release", "--locked", "--bin", "plw"]);
    // `cuda:1` needs the feature `cuda`; the CPU needs none.
    let feature = device.split(':').next().unwrap_or_default();
    if feature != CPU {
        command.args(["--features", &format!("plw/{feature}")]);
    }
    process::run(&mut command, "fix what the compiler reports above")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.path("target"), |target| workspace.path(target));
    let name = format!("plw{}", std::env::consts::EXE_SUFFIX);
    Ok(target.join("release").join(name))
}

/// Cargo, in the workspace.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = workspace.command(PathBuf::from(cargo));
    // What `cargo run` tells xtask of its own package: a build script that watches these variables
    // (ring's does) would run anew, and all that stands on it be built again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// What `plw --version` says.
pub(crate) fn version(plw: &Path) -> Result<String> {
    let text = process::output(Command::new(plw).arg("--version"))?;
    Ok(text.trim().to_string())
}
