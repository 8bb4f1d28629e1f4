//! An H100 that is emulated on the CPU, and programs built to run on it.

use std::path::PathBuf;
use std::process::Stdio;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::Value;

use crate::workspace::Workspace;
use crate::{binary, process};

/// Where its sources, scripts and settings are.
pub(super) const SOURCES: &str = "experiments/gpu/emulator";

/// The folder of its libraries, and of the programs that run on it.
pub(super) struct Emulator<'a> {
    workspace: &'a Workspace,
    folder: PathBuf,
}

impl<'a> Emulator<'a> {
    /// Builds it with the C++ compiler.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub(super) fn build(workspace: &'a Workspace, folder: PathBuf) -> Result<Self> {
        let mut command = workspace.command(workspace.path(SOURCES).join("build.sh"));
        command.arg(&folder);
        process::run(&mut command, "install a C++ compiler: apt-get install g++")?;
        Ok(Self { workspace, folder })
    }

    /// Builds a program with CUDA, without LLVM: the arguments of `cargo rustc` say which. What is
    /// returned runs it on the emulator.
    ///
    /// # Errors
    ///
    /// Where it does not build.
    pub(super) fn program(&self, name: &str, arguments: &[&str]) -> Result<PathBuf> {
        eprintln!("building {name} with CUDA (the first time takes minutes)");
        let mut cargo = binary::cargo(self.workspace);
        cargo.args(["rustc", "--release", "--locked"]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        cargo.args(arguments);
        cargo.args(["--", "-Clink-arg=-Wl,--unresolved-symbols=ignore-all"]);
        // CubeCL's build script fetches no LLVM then, and cudarc looks for no toolkit.
        cargo
            .env("DOCS_RS", "1")
            .env("CUDARC_CUDA_VERSION", "13000");
        let built = cargo.stderr(Stdio::inherit()).output().into_diagnostic();
        let built = built.wrap_err("cannot run cargo")?;
        if !built.status.success() {
            return Err(miette!("{name} does not build: see above"));
        }
        let messages = String::from_utf8_lossy(&built.stdout);
        let built = executable(&messages).ok_or_else(|| miette!("cargo built no {name}"))?;
        let script = self.workspace.path(SOURCES).join("wrap.sh");
        let mut wrap = self.workspace.command(script);
        wrap.arg(built).arg(&self.folder).arg(name);
        process::run(
            &mut wrap,
            "install what it misses: apt-get install binutils gcc",
        )?;
        Ok(self.folder.join(name))
    }
}

/// The environment of a program on so many GPUs. Each stream waits for up to `delay` microseconds
/// before some of its work.
pub(super) fn environment(gpus: usize, delay: usize) -> [(&'static str, String); 2] {
    [
        ("H100S", gpus.to_string()),
        ("EMULATOR_DELAY", delay.to_string()),
    ]
}

/// The last program that cargo says it has built.
fn executable(messages: &str) -> Option<PathBuf> {
    let built = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(message.get("executable")?.as_str()?.to_string())
    });
    built.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_last_that_cargo_names() {
        let messages = "{\"executable\":\"/a\"}\n{\"executable\":\"/b\"}\n\
                        {\"executable\":null}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/b")));
        assert_eq!(executable("{\"executable\":null}\nno json"), None);
    }
}
