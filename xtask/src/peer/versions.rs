//! The versions of all that is compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use miette::Result;
use toml::{Table, Value};

use super::python::name_and_version;
use super::pytorch::PyTorch;
use crate::read::read_toml;
use crate::workspace::Workspace;
use crate::{binary, process};

/// Name and version of plw, of burn and of the compiler, and of PyTorch's side where it is there.
pub(crate) fn versions(
    workspace: &Workspace,
    plw: &Path,
    pytorch: Option<&PyTorch>,
) -> Result<BTreeMap<String, String>> {
    let rustc = process::output(Command::new("rustc").arg("--version"))?;
    let lines = [binary::version(plw)?, rustc.trim().to_string()];
    let lines = lines.iter().filter_map(|line| name_and_version(line));
    let mut versions: BTreeMap<_, _> = lines.collect();
    let lock: Table = read_toml(&workspace.path("Cargo.lock"))?;
    versions.extend(locked(&lock, "burn").map(|version| ("burn".to_string(), version)));
    versions.extend(
        pytorch
            .iter()
            .flat_map(|pytorch| pytorch.python.versions.clone()),
    );
    Ok(versions)
}

/// The version of a package in Cargo.lock.
fn locked(lock: &Table, package: &str) -> Option<String> {
    let packages = lock.get("package")?.as_array()?;
    let is_it = |found: &&Value| found.get("name").and_then(Value::as_str) == Some(package);
    let version = packages.iter().find(is_it)?.get("version")?.as_str()?;
    Some(version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_version_is_found() {
        let lock: Table = "version = 4\n[[package]]\nname = 'burn-core'\nversion = '0.1.0'\n\
            [[package]]\nname = 'burn'\nversion = '0.22.1'\n"
            .parse()
            .expect("TOML");
        assert_eq!(locked(&lock, "burn"), Some("0.22.1".to_string()));
        assert_eq!(locked(&lock, "torch"), None);
    }
}
