//! What measured processes see of the user's environment.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// What plw's settings begin with.
const SETTINGS: &str = "PLW_";

/// Settings of glibc's allocator: plw chooses its own only where there are none.
const ALLOCATOR: &str = "GLIBC_TUNABLES";

/// Keeps settings that lie in the user's environment from a process: they would change what is
/// measured, and no record would tell.
pub(crate) fn without_settings(command: &mut Command) -> &mut Command {
    remove_settings(command, std::env::vars_os().map(|(name, _)| name))
}

fn remove_settings(
    command: &mut Command,
    names: impl IntoIterator<Item = OsString>,
) -> &mut Command {
    for name in names.into_iter().filter(|name| is_setting(name)) {
        command.env_remove(name);
    }
    command
}

fn is_setting(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(SETTINGS) || name == ALLOCATOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_removed_and_nothing_else() {
        let names = ["PLW_PACKING", "PATH", "GLIBC_TUNABLES", "MY_PLW_X"];
        let mut command = Command::new("plw");
        remove_settings(&mut command, names.map(OsString::from));
        let mut removed: Vec<_> = command.get_envs().map(|(name, _)| name).collect();
        removed.sort();
        assert_eq!(removed, ["GLIBC_TUNABLES", "PLW_PACKING"]);
        assert!(command.get_envs().all(|(_, value)| value.is_none()));
    }
}
