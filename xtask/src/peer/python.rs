//! The Python that runs the peer, and the versions of all that is compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_files::write_atomic;
use toml::Table;

use super::{FOLDER, Setting};
use crate::workspace::{Workspace, absolute};
use crate::{binary, process};

/// What the peer imports.
const PACKAGES: [&str; 5] = ["torch", "transformers", "peft", "pyarrow", "jinja2"];

/// Prints its own version, and that of each package named which is installed.
const VERSIONS: &str = "\
import platform, importlib.metadata, sys
print('python', platform.python_version())
for name in sys.argv[1:]:
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
";

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
    let output = Command::new(python)
        .args(["-c", VERSIONS])
        .args(PACKAGES)
        .output()
        .map_err(|error| {
            miette!(
                help = "give --python the path of a Python program",
                "cannot run {}: {error}",
                python.display()
            )
        })?;
    if !output.status.success() {
        return Err(miette!(
            help = "give --python the path of a Python 3.8 or later that works",
            "{} cannot tell the versions of its packages; it ended with {}:\n{}",
            python.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let versions: BTreeMap<_, _> = text.lines().filter_map(name_and_version).collect();
    let lacking: Vec<&str> = PACKAGES
        .into_iter()
        .filter(|name| !versions.contains_key(*name))
        .collect();
    match lacking.is_empty() {
        true => Ok(versions),
        false => Err(miette!(
            help = format!(
                "install what is missing with `{} -m pip install {}`, or give --python another",
                python.display(),
                lacking.join(" ")
            ),
            "{} has no {}",
            python.display(),
            lacking.join(", no ")
        )),
    }
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
