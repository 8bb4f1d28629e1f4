//! `mpirun`, for processes that plw is started as.

use std::process::Command;

use crate::workspace::Workspace;

/// Starts processes in the workspace. How many, and what they are, follows. Each has as many
/// threads as `RAYON_NUM_THREADS` says.
pub(super) fn mpirun(workspace: &Workspace) -> Command {
    let mut command = workspace.command("mpirun");
    // mpirun binds each process to one core otherwise, and the second job to the same ones.
    command.args([
        "--allow-run-as-root",
        "--oversubscribe",
        "--bind-to",
        "none",
    ]);
    command
        .args(["-x", "RAYON_NUM_THREADS", "--wdir"])
        .arg(&workspace.root);
    command
}
