//! The Python that runs the PyTorch program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{Result, miette};

use crate::workspace::{Workspace, absolute};

/// What the PyTorch program imports.
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

/// A Python that has the packages.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    pub(crate) path: PathBuf,
    /// Of itself and of the packages.
    pub(crate) versions: BTreeMap<String, String>,
}

impl Python {
    /// The Python given; else that of the environment `target/peer`, else the system's.
    pub(crate) fn find(workspace: &Workspace, given: Option<&Path>) -> Result<Self> {
        let made = workspace.path(match cfg!(windows) {
            true => "target/peer/Scripts/python.exe",
            false => "target/peer/bin/python",
        });
        let path = match given {
            // A bare name is looked up in PATH.
            Some(given) if given.components().count() > 1 => absolute(given)?,
            Some(given) => given.to_path_buf(),
            None if made.is_file() => made,
            None => PathBuf::from("python3"),
        };
        let versions = versions(&path)?;
        Ok(Self { path, versions })
    }
}

/// Name and version of a Python and of the packages in it.
fn versions(python: &Path) -> Result<BTreeMap<String, String>> {
    let mut command = Command::new(python);
    let output = command.args(["-c", VERSIONS]).args(PACKAGES).output();
    let output = output.map_err(|error| {
        miette!(
            help = "give --python the path of a Python program",
            "cannot run {}: {error}",
            python.display()
        )
    })?;
    if !output.status.success() {
        return Err(miette!(
            help = "give --python the path of a Python 3.11 or later that works",
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
            help = "experiments/peer/README.md says how to install what is missing",
            "{} has no {}",
            python.display(),
            lacking.join(", no ")
        )),
    }
}

/// `NAME VERSION`, taken apart.
pub(crate) fn name_and_version(line: &str) -> Option<(String, String)> {
    let (name, version) = line.split_once(' ')?;
    Some((name.to_string(), version.to_string()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_cannot_be_run_is_told_from_one_without_packages() {
        let cases = [
            (
                "/nowhere/python",
                "cannot run /nowhere/python: No such file",
                "the path of a Python",
            ),
            // It ends well and prints nothing.
            (
                "true",
                "true has no torch, no transformers",
                "experiments/peer/README.md",
            ),
        ];
        for (python, says, advises) in cases {
            let report = Python::find(&Workspace::find(), Some(Path::new(python)));
            let report = report.expect_err("of no use");
            let text = report.to_string();
            assert!(text.contains(says), "{text}");
            let help = report.help().expect("there is some").to_string();
            assert!(help.contains(advises), "{help}");
        }
    }
}
