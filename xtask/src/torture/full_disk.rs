//! A disk that becomes full: a small file system in memory, mounted over the work's folder for one
//! process, in a mount namespace that ends with it. Where the system does not allow one, it is left
//! out; the limit of a file's size, which needs nothing, is always there.

use std::path::Path;
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr};

use crate::peer::scratch::remove;
use crate::process;

/// A shell with the right to mount.
const NAMESPACE: [&str; 6] = ["unshare", "--mount", "--map-root-user", "sh", "-e", "-c"];

/// Mounts what the folder holds now and so many free KiB over it, runs a command, and leaves beside
/// it what the folder held then.
const SCRIPT: &str = r#"
free=$1 folder=$2
shift 2
mkdir -p "$folder"
cp -a "$folder" "$folder.outside"
used=$(du -sk "$folder" | cut -f1)
mount -t tmpfs -o "size=$((used + free))k" tmpfs "$folder"
cp -a "$folder.outside/." "$folder"
rm -rf "$folder.outside"
status=0
"$@" || status=$?
cp -a "$folder" "$folder.outside"
exit $status
"#;

/// Whether a process may mount a file system in memory for itself.
pub(super) fn is_allowed() -> bool {
    let mount = "mount -t tmpfs -o size=64k tmpfs /tmp";
    let mut command = Command::new(NAMESPACE[0]);
    command.args(&NAMESPACE[1..]).arg(mount);
    process::output(&mut command).is_ok()
}

/// A command that finds so many free KiB in `folder`.
pub(super) fn with_little_room(words: &[String], free: u64, folder: &Path) -> Vec<String> {
    let mut command = NAMESPACE.map(str::to_string).to_vec();
    let (free, folder) = (free.to_string(), folder.display().to_string());
    command.extend([SCRIPT.to_string(), "sh".to_string(), free, folder]);
    command.extend_from_slice(words);
    command
}

/// Puts what the command left on the full disk into its place.
pub(super) fn take_over(folder: &Path) -> Result<()> {
    let outside = folder.with_extension("outside");
    remove(folder)?;
    std::fs::rename(&outside, folder)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot rename {}", outside.display()))
}
