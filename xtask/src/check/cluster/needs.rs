//! What a part of the check needs on the machine, and where it is to be had.

use std::path::Path;
use std::process::Command;

use miette::{Result, miette};

use crate::only::Only;
use crate::process;

/// Programs that a part runs, by how each is asked for its version.
const PROGRAMS: [(&str, &[&str], &str); 8] = [
    ("slurm", &["slurmctld", "-V"], "slurm-wlm"),
    ("slurm", &["slurmd", "-V"], "slurm-wlm"),
    ("slurm", &["sbatch", "-V"], "slurm-wlm"),
    ("slurm", &["munged", "-V"], "munge"),
    ("slurm", &["ip", "-V"], "iproute2"),
    ("slurm", &["unshare", "--version"], "util-linux"),
    ("slurm", &["setpriv", "--version"], "util-linux"),
    ("kubernetes", &["unshare", "--version"], "util-linux"),
];

/// Says of all that is missing how to get it, before anything is built.
pub(super) fn check(only: &Only, python: &Path) -> Result<()> {
    let runs = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        process::output(command.args(&words[1..])).is_ok()
    };
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(part, words, _)| only.has(part) && !runs(words))
        .map(|(_, _, package)| *package)
        .collect();
    packages.dedup();
    if !packages.is_empty() {
        return Err(miette!(
            help = format!("apt-get install {}", packages.join(" ")),
            "this part of the check runs programs that are not installed"
        ));
    }
    let namespaces = [
        "unshare", "--net", "--uts", "--mount", "--pid", "--fork", "true",
    ];
    if only.has("slurm") && !runs(&namespaces) {
        return Err(miette!(
            help = "run it as root, outside a container that forbids namespaces; or leave it out \
                    with --only local,kubernetes",
            "nodes of a Slurm cluster are network namespaces, which the system does not allow"
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
