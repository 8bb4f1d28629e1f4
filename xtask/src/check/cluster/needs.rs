//! What a part of the check needs on the machine, and where it is to be had.

use std::path::Path;
use std::process::Command;

use miette::{Result, miette};

use crate::only::Only;
use crate::process;

/// Parts that start a Slurm cluster.
const SLURM: &[&str] = &["slurm", "processes"];

/// Programs that parts run, and the packages of Debian that have them.
const PROGRAMS: [(&[&str], &str, &str); 10] = [
    (SLURM, "slurmctld", "slurm-wlm"),
    (SLURM, "slurmd", "slurm-wlm"),
    (SLURM, "sbatch", "slurm-wlm"),
    (SLURM, "munged", "munge"),
    (SLURM, "ip", "iproute2"),
    (SLURM, "setpriv", "util-linux"),
    (SLURM, "nsenter", "util-linux"),
    (&["processes"], "mpirun", "openmpi-bin"),
    (&["processes"], "mpicc", "libopenmpi-dev"),
    (&["kubernetes"], "unshare", "util-linux"),
];

/// Says of all that is missing how to get it, before anything is built.
pub(super) fn check(only: &Only, python: &Path) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed =
        |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let any = |parts: &[&str]| parts.iter().any(|part| only.has(part));
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(parts, program, _)| any(parts) && !is_installed(program))
        .map(|(_, _, package)| *package)
        .collect();
    packages.dedup();
    if !packages.is_empty() {
        return Err(miette!(
            help = format!("apt-get install {}", packages.join(" ")),
            "this part of the check runs programs that are not installed"
        ));
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--uts", "--mount", "--pid", "--fork", "true"]);
    let needs_namespaces = any(SLURM) || only.has("kubernetes");
    if needs_namespaces && process::output(&mut unshare).is_err() {
        return Err(miette!(
            help = "run it as root, outside a container that forbids namespaces; or --only local",
            "nodes and pods are namespaces, which the system does not allow"
        ));
    }
    let mut import = Command::new(python);
    import.args(["-c", "import kubernetes_validate, yaml"]);
    if only.has("kubernetes") && process::output(&mut import).is_err() {
        return Err(miette!(
            help = "python3 -m venv target/python && target/python/bin/pip install -r \
                    experiments/cluster/requirements.txt; then --python target/python/bin/python",
            "{} has no kubernetes-validate",
            python.display()
        ));
    }
    Ok(())
}
