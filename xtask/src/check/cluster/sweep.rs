//! A sweep as `plw sweep` is called for it: the preset, and settings that make runs worth
//! interrupting.

use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_files::{digest_file, write_atomic};
use serde::Deserialize;

use crate::check::mpirun::mpirun;
use crate::peer::scratch::Scratch;
use crate::process;
use crate::workspace::Workspace;

/// Checkpoints often enough for a run to get on between two kills. It changes no result.
const SETTINGS: [(&str, &str); 1] = [("PLW_SAVE_STEPS", "20")];

/// The folder of a sweep. Reports have its name in them.
pub(super) const FOLDER: &str = "sweep";

/// Processes of a run that several share.
const PROCESSES: &str = "2";

/// Each on another node. Slurm's PMIx connects them.
const OF_PROCESSES: &str = r#"
[cluster.slurm]
processes = 2
cpus_per_task = 1
options = ["--nodes=2"]
setup = ["export SLURM_MPI_TYPE=pmix"]
"#;

/// Tables that only the printed jobs need.
fn tables(plw: &Path) -> String {
    let plw = toml::Value::from(plw.display().to_string());
    format!("\n[cluster.kubernetes]\nimage = \"plw\"\nprogram = {plw}\n")
}

/// A run as `--list --json` prints it.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
}

/// A sweep, in whatever folder.
pub(super) struct Sweep<'a> {
    workspace: &'a Workspace,
    pub(super) plw: &'a Path,
    preset: PathBuf,
    /// What tells it from the others: the preset's name, or how its runs are done.
    pub(super) name: &'a str,
    flags: &'static [&'static str],
    has_processes: bool,
}

impl<'a> Sweep<'a> {
    /// That of a preset of `experiments/`.
    pub(super) fn new(
        workspace: &'a Workspace,
        plw: &'a Path,
        scratch: &Scratch,
        name: &'a str,
    ) -> Result<Self> {
        let text = read_preset(workspace, name)? + &tables(plw);
        let preset = scratch.path(format!("{name}.toml"));
        write_atomic(&preset, text).into_diagnostic()?;
        Ok(Self {
            workspace,
            plw,
            preset,
            name,
            flags: &[],
            has_processes: false,
        })
    }

    /// A part of the default experiment, whose runs two processes share each.
    pub(super) fn of_processes(
        workspace: &'a Workspace,
        plw: &'a Path,
        scratch: &Scratch,
    ) -> Result<Self> {
        let text = read_preset(workspace, "default")? + OF_PROCESSES;
        let preset = scratch.path("processes.toml");
        write_atomic(&preset, text).into_diagnostic()?;
        Ok(Self {
            workspace,
            plw,
            preset,
            name: "processes",
            flags: &["--seeds", "1"],
            has_processes: true,
        })
    }

    /// Commands that together do the whole sweep in a folder.
    pub(super) fn undisturbed(&self, folder: &Path, runs: usize) -> Vec<Command> {
        if !self.has_processes {
            return vec![self.command(folder)];
        }
        let run = |index: usize| {
            let mut command = mpirun(self.workspace);
            command.envs(SETTINGS).env("RAYON_NUM_THREADS", "1");
            command.args(["-n", PROCESSES]).arg(self.plw);
            self.add_arguments(&mut command, folder);
            command.args(["--index", &index.to_string()]);
            command
        };
        (0..runs).map(run).collect()
    }

    /// What decides its results: the program and the preset.
    pub(super) fn identity(&self) -> Result<String> {
        let digests = [self.plw, &self.preset].map(digest_file);
        let [program, preset] = digests.map(|digest| digest.into_diagnostic());
        Ok(format!("{} {}", program?, preset?))
    }

    /// A program in the workspace, with the settings of the sweep.
    pub(super) fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.workspace.command(program);
        command.envs(SETTINGS);
        command
    }

    /// `plw sweep` in a folder; flags may follow.
    pub(super) fn command(&self, folder: &Path) -> Command {
        let mut command = self.program(self.plw);
        self.add_arguments(&mut command, folder);
        command
    }

    fn add_arguments(&self, command: &mut Command, folder: &Path) {
        command.args(["--quiet", "sweep", "--config"]);
        command.arg(&self.preset).arg("--output-dir").arg(folder);
        command.args(self.flags);
    }

    /// The names of the runs, by index.
    pub(super) fn names(&self, folder: &Path) -> Result<Vec<String>> {
        let listed = process::output(self.command(folder).args(["--list", "--json"]))?;
        let listed: Vec<Listed> = serde_json::from_str(&listed).into_diagnostic()?;
        Ok(listed.into_iter().map(|run| run.name).collect())
    }
}

fn read_preset(workspace: &Workspace, name: &str) -> Result<String> {
    let source = workspace.path(format!("experiments/{name}.toml"));
    let text = std::fs::read_to_string(&source).into_diagnostic();
    text.wrap_err_with(|| format!("cannot read {}", source.display()))
}
