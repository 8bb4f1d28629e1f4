//! What both programs are given: a model and questions.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{Result, miette};

use super::python::Python;
use super::pytorch::PyTorch;
use crate::workspace::{Workspace, absolute};

/// The flags that name them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InputFlags {
    /// A Llama in the Hugging Face layout. The committed results are SmolLM2-135M-Instruct's.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// RACE: a folder with middle/ and high/, and train-00000-of-00001.parquet and
    /// validation-00000-of-00001.parquet in each.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A Python with what experiments/peer/requirements.txt lists; without it that of target/peer,
    /// or the system's.
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// Another PyTorch program instead of experiments/peer/peer.py, with its options and its
    /// output.
    #[arg(long, value_name = "FILE")]
    pub(crate) peer: Option<PathBuf>,
}

impl InputFlags {
    /// The PyTorch program.
    pub(crate) fn pytorch(&self, workspace: &Workspace) -> Result<PyTorch> {
        let script = match &self.peer {
            Some(script) => absolute(script)?,
            None => workspace.path("experiments/peer/peer.py"),
        };
        if !script.is_file() {
            return Err(miette!(
                help = "give --peer the path of a Python program",
                "there is no {}",
                script.display()
            ));
        }
        let python = Python::find(workspace, self.python.as_deref())?;
        Ok(PyTorch { python, script })
    }

    /// The model and the questions, where both are named.
    pub(crate) fn race(&self) -> Result<Option<Race>> {
        let model = self.model.as_deref().map(model).transpose()?;
        let folder = self.data.as_deref().map(absolute).transpose()?;
        let (Some(model), Some(folder)) = (model, folder) else {
            return Ok(None);
        };
        let race = Race { model, folder };
        let file = race.file(Level::Middle, "train");
        if !file.is_file() {
            return Err(miette!(
                help =
                    "give --data the folder with middle/ and high/, as the data set ehovy/race has",
                "there is no {}",
                file.display()
            ));
        }
        Ok(Some(race))
    }
}

/// A part of RACE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Middle,
    High,
}

/// A model and the questions of RACE.
#[derive(Debug, Clone)]
pub(crate) struct Race {
    pub(crate) model: PathBuf,
    folder: PathBuf,
}

impl Race {
    /// The questions of a level and a split.
    pub(crate) fn file(&self, level: Level, split: &str) -> PathBuf {
        let level = match level {
            Level::Middle => "middle",
            Level::High => "high",
        };
        let file = format!("{split}-00000-of-00001.parquet");
        self.folder.join(level).join(file)
    }

    /// The model's name: that of its directory.
    pub(crate) fn model_name(&self) -> String {
        let name = self.model.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The model directory that is given.
fn model(given: &Path) -> Result<PathBuf> {
    let model = absolute(given)?;
    for file in ["config.json", "tokenizer.json"] {
        if !model.join(file).is_file() {
            return Err(miette!(
                help = "give --model a directory in the Hugging Face layout",
                "{} has no {file}",
                model.display()
            ));
        }
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut flags = InputFlags {
            model: Some(directory.path().to_path_buf()),
            ..InputFlags::default()
        };
        for file in ["config.json", "tokenizer.json"] {
            let report = flags.race().expect_err("no model").to_string();
            assert!(report.ends_with(&format!("has no {file}")), "{report}");
            std::fs::write(directory.path().join(file), "").expect("written");
        }
        assert!(flags.race().expect("no data named").is_none());
        flags.data = Some(directory.path().to_path_buf());
        let report = flags.race().expect_err("no questions").to_string();
        assert!(report.contains("middle/train-00000"), "{report}");
    }
}
