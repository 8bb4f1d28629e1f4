//! How the processes of a run are started.

use std::fmt;
use std::path::Path;
use std::process::Command;

use super::namespaces::Namespaces;
use crate::check::mpirun::mpirun;
use crate::peer::environment::without_settings;
use crate::workspace::Workspace;

/// Where the processes of a run are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// So many on this machine.
    Processes(usize),
    /// One in each network namespace, which reach each other over TCP.
    Namespaces(&'a Namespaces),
}

impl Place<'_> {
    pub(super) fn processes(self) -> usize {
        match self {
            Self::Processes(count) => count,
            Self::Namespaces(namespaces) => namespaces.count(),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes(count) => write!(formatter, "{count} processes"),
            Self::Namespaces(all) => write!(formatter, "{} namespaces", all.count()),
        }
    }
}

/// Work of plw with one thread in each process.
pub(super) struct Job {
    pub(super) command: Command,
}

impl Job {
    /// With the smoke preset and a prompt loss weight.
    pub(super) fn smoke(
        workspace: &Workspace,
        plw: &Path,
        place: Place<'_>,
        records: &Path,
    ) -> Self {
        let mut job = Self::of_preset(workspace, plw, place, "experiments/smoke.toml", records);
        job.command.arg("--prompt-loss-weight=0.1");
        job
    }

    pub(super) fn of_preset(
        workspace: &Workspace,
        plw: &Path,
        place: Place<'_>,
        preset: &str,
        records: &Path,
    ) -> Self {
        let mut job = Self::start(workspace, plw, place);
        job.command.args(["train", "--log-format=json"]);
        job.command.args(["--config", preset, "--output-dir"]);
        job.command.arg(records);
        job
    }

    /// An evaluation of a model on the smoke preset's questions.
    pub(super) fn evaluation(
        workspace: &Workspace,
        plw: &Path,
        place: Place<'_>,
        model: &Path,
        records: &Path,
    ) -> Self {
        let mut job = Self::start(workspace, plw, place);
        job.command
            .args(["eval", "--config=experiments/smoke.toml"]);
        job.command.arg("--model").arg(model);
        job.command.arg("--output-dir").arg(records);
        job
    }

    fn start(workspace: &Workspace, plw: &Path, place: Place<'_>) -> Self {
        let mut command = mpirun(workspace);
        without_settings(&mut command).env("RAYON_NUM_THREADS", "1");
        if let Place::Namespaces(namespaces) = place {
            command.args(namespaces.arguments());
        }
        command
            .args(["-n", &place.processes().to_string()])
            .arg(plw);
        Self { command }
    }
}
