//! The Python that runs the peer, and the versions of all that is compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_record::write_atomic;
use toml::Table;

use super::{FOLDER, Setting};
use crate::workspace::{Workspace, absolute};
use crate::{binary, process};

/// What the peer imports.
const PACKAGES: [&str; 5] = ["torch", "transformers", "peft", "pyarrow", "jinja2"];

/// The Python given, else that of an environment which is made once.
///
/// # Errors
///
/// Where the environment cannot be made.
pub(super) fn find(workspace: &Workspace, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return resolve(given);
    }
    let environment = workspace.path(FOLDER).join("venv");
    let (python, complete) = made(workspace);
    if !complete.is_file() {
        eprintln!(
            "installing {} in {} (5.6 GB)",
            PACKAGES.join(", "),
            environment.display()
        );
        let log = |name: &str| workspace.path(FOLDER).join("logs").join(name);
        let mut make = workspace.command("python3");
        process::run_logged(make.args(["-m", "venv"]).arg(&environment), &log("venv"))?;
        let mut install = workspace.command(&python);
        process::run_logged(
            install.args(["-m", "pip", "install"]).args(PACKAGES),
            &log("pip"),
        )?;
        write_atomic(&complete, "").into_diagnostic()?;
    }
    Ok(python)
}

/// The Python of the environment that is made once, and the file whose presence says that it is complete.
pub(crate) fn made(workspace: &Workspace) -> (PathBuf, PathBuf) {
    let environment = workspace.path(FOLDER).join("venv");
    let python = environment.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    (python, environment.join("complete"))
}

/// A Python as the user gave it.
///
/// # Errors
///
/// Where the current directory is gone.
pub(crate) fn resolve(given: &Path) -> Result<PathBuf> {
    // A bare name is looked up in PATH.
    if given.components().count() > 1 {
        absolute(given)
    } else {
        Ok(given.to_path_buf())
    }
}

/// Name and version of the peer's packages, of plw, of burn and of the compiler.
///
/// # Errors
///
/// Where one cannot be asked.
pub(super) fn versions(setting: &Setting) -> Result<BTreeMap<String, String>> {
    let mut versions = peer_versions(&setting.python)?;
    versions.extend(own_versions(setting.workspace, &setting.plw)?);
    Ok(versions)
}

/// Name and version of a Python and of the peer's packages in it.
///
/// # Errors
///
/// Where it cannot be run or one is missing.
pub(crate) fn peer_versions(python: &Path) -> Result<BTreeMap<String, String>> {
    let script = "import platform, importlib.metadata as m, sys\nprint('python', platform.python_version())\n\
                  for name in sys.argv[1:]: print(name, m.version(name))";
    let mut command = Command::new(python);
    let text = process::output(command.args(["-c", script]).args(PACKAGES))?;
    Ok(text.lines().filter_map(name_and_version).collect())
}

/// Name and version of plw, of burn and of the compiler.
///
/// # Errors
///
/// Where one cannot be asked.
pub(crate) fn own_versions(
    workspace: &Workspace,
    plw: &PathBuf,
) -> Result<BTreeMap<String, String>> {
    let rustc = process::output(Command::new("rustc").arg("--version"))?;
    let lines = [binary::version(plw)?, rustc.trim().to_string()];
    let mut versions: BTreeMap<String, String> = lines
        .iter()
        .filter_map(|line| name_and_version(line))
        .collect();
    let lock = std::fs::read_to_string(workspace.path("Cargo.lock")).into_diagnostic();
    let lock = lock.wrap_err("cannot read Cargo.lock")?;
    versions.extend(locked(&lock, "burn")?.map(|version| ("burn".to_string(), version)));
    Ok(versions)
}

fn name_and_version(line: &str) -> Option<(String, String)> {
    let (name, version) = line.split_once(' ')?;
    Some((name.to_string(), version.to_string()))
}

/// The version of a package in Cargo.lock.
fn locked(lock: &str, package: &str) -> Result<Option<String>> {
    let lock: Table = lock.parse().into_diagnostic()?;
    let packages = lock.get("package").and_then(|packages| packages.as_array());
    let found = packages
        .into_iter()
        .flatten()
        .find(|found| found.get("name").and_then(|name| name.as_str()) == Some(package));
    Ok(found
        .and_then(|found| found.get("version")?.as_str())
        .map(str::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_version_is_found() {
        let lock = "version = 4\n[[package]]\nname = 'burn-core'\nversion = '0.1.0'\n[[package]]\nname = 'burn'\nversion = '0.22.1'\n";
        assert_eq!(
            locked(lock, "burn").expect("TOML"),
            Some("0.22.1".to_string())
        );
        assert_eq!(locked(lock, "torch").expect("TOML"), None);
    }
}
