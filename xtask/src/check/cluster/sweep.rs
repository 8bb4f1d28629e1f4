//! A sweep as `plw sweep` is called for it: the preset, and settings that make runs worth
//! interrupting.

use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_files::{digest_file, write_atomic};
use serde::Deserialize;

use crate::peer::scratch::Scratch;
use crate::process;
use crate::workspace::Workspace;

/// Checkpoints often enough for a run to get on between two kills. It changes no result.
const SETTINGS: [(&str, &str); 1] = [("PLW_SAVE_STEPS", "20")];

/// The folder of a sweep. Reports have its name in them.
pub(super) const FOLDER: &str = "sweep";

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
    /// The preset's name.
    pub(super) name: &'a str,
}

impl<'a> Sweep<'a> {
    /// That of a preset of `experiments/`.
    pub(super) fn new(
        workspace: &'a Workspace,
        plw: &'a Path,
        scratch: &Scratch,
        name: &'a str,
    ) -> Result<Self> {
        let source = workspace.path(format!("experiments/{name}.toml"));
        let text = std::fs::read_to_string(&source).into_diagnostic();
        let text = text.wrap_err_with(|| format!("cannot read {}", source.display()))?;
        let preset = scratch.path(format!("{name}.toml"));
        write_atomic(&preset, text + &tables(plw)).into_diagnostic()?;
        Ok(Self {
            workspace,
            plw,
            preset,
            name,
        })
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
        command.args(["--quiet", "sweep", "--config"]);
        command.arg(&self.preset).arg("--output-dir").arg(folder);
        command
    }

    /// The names of the runs, by index.
    pub(super) fn names(&self, folder: &Path) -> Result<Vec<String>> {
        let listed = process::output(self.command(folder).args(["--list", "--json"]))?;
        let listed: Vec<Listed> = serde_json::from_str(&listed).into_diagnostic()?;
        Ok(listed.into_iter().map(|run| run.name).collect())
    }
}
