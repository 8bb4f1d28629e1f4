//! What all runs need: programs, models and rows, as far as they are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, miette};

use super::FOLDER;
use super::cases::Case;
use crate::parity::{self, python};
use crate::workspace::{Workspace, absolute};

/// What all runs need.
pub(super) struct Setting<'a> {
    pub(super) workspace: &'a Workspace,
    /// The plw binary.
    pub(super) plw: PathBuf,
    /// None where it cannot run.
    pub(super) peer: Option<Peer>,
    /// None without `shared`.
    pub(super) race: Option<Files>,
    /// None where no case needs it.
    pub(super) small: Option<Files>,
}

/// The program that plw is measured against.
pub(super) struct Peer {
    pub(super) python: Python,
    /// `peer.py`.
    pub(super) script: PathBuf,
}

/// A Python that has the peer's packages.
pub(super) struct Python {
    pub(super) path: PathBuf,
    /// Of itself and of the packages.
    pub(super) versions: BTreeMap<String, String>,
}

/// A model and the questions that it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) model: PathBuf,
    pub(super) train: PathBuf,
    pub(super) validation: PathBuf,
}

impl Setting<'_> {
    /// A path among what lies between runs.
    pub(super) fn scratch(&self, name: impl AsRef<Path>) -> PathBuf {
        self.workspace.path(FOLDER).join(name)
    }

    /// The files of a case; none where they are not there.
    pub(super) fn files(&self, case: Case) -> Option<&Files> {
        match case.needs_race() {
            true => self.race.as_ref(),
            false => self.small.as_ref(),
        }
    }
}

/// RACE middle below `shared`, and the model given, else SmolLM2-135M, which is built once.
///
/// # Errors
///
/// Where the model cannot be built.
pub(super) fn race(workspace: &Workspace, shared: &Path, model: Option<&Path>) -> Result<Files> {
    let rows =
        |split: &str| shared.join(format!("data/race/middle/{split}-00000-of-00001.parquet"));
    Ok(Files {
        model: parity::model(workspace, shared, model)?,
        train: rows("train"),
        validation: rows("validation"),
    })
}

/// The model directory that `--model` gives.
///
/// # Errors
///
/// Where it is none, or lacks a file that both programs read.
pub(super) fn given_model(given: &Path) -> Result<PathBuf> {
    let model = absolute(given)?;
    let refused = |why: String| {
        miette!(
            help = "give --model a directory in the Hugging Face layout, or leave it out for SmolLM2-135M",
            "{} is no model: {why}",
            model.display()
        )
    };
    let entries = std::fs::read_dir(&model).map_err(|error| refused(error.to_string()))?;
    let names: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.file_name().into()))
        .collect::<Result<_, _>>()
        .into_diagnostic()?;
    let has_weights = names
        .iter()
        .any(|name| name.extension().is_some_and(|end| end == "safetensors"));
    let has = |name: &str| names.iter().any(|found| found.as_os_str() == name);
    let needed = [
        ("config.json", has("config.json")),
        ("tokenizer.json", has("tokenizer.json")),
        ("*.safetensors", has_weights),
    ];
    let lacking: Vec<&str> = needed
        .iter()
        .filter(|(_, is_there)| !is_there)
        .map(|(name, _)| *name)
        .collect();
    match lacking.is_empty() {
        true => Ok(model),
        false => Err(refused(format!("it has no {}", lacking.join(", no ")))),
    }
}

impl Python {
    /// The Python that `--python` gives.
    ///
    /// # Errors
    ///
    /// Where it cannot be run or lacks a package.
    pub(super) fn given(given: &Path) -> Result<Self> {
        Self::with_packages(python::resolve(given)?)
    }

    /// That of parity's environment, else the system's; none where both lack a package.
    fn installed(workspace: &Workspace) -> Option<Self> {
        let (made, complete) = python::made(workspace);
        let made = complete.is_file().then_some(made);
        let mut candidates = made.into_iter().chain([PathBuf::from("python3")]);
        candidates.find_map(|path| Self::with_packages(path).ok())
    }

    fn with_packages(path: PathBuf) -> Result<Self> {
        let versions = python::peer_versions(&path)?;
        Ok(Self { path, versions })
    }
}

/// The peer below `shared`, by the Python given, else by one that is installed; none where one of the two is not there.
pub(super) fn peer(workspace: &Workspace, shared: &Path, given: Option<Python>) -> Option<Peer> {
    let script = shared.join("peer/peer.py");
    if !script.is_file() {
        return None;
    }
    let python = given.or_else(|| Python::installed(workspace))?;
    Some(Peer { python, script })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_model_has_what_both_programs_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let refusal = |path: &Path| {
            let report = given_model(path).expect_err("no model");
            report.to_string()
        };
        let nowhere = directory.path().join("nowhere");
        let text = refusal(&nowhere);
        assert!(text.contains("nowhere is no model: No such"), "{text}");
        let files = [
            (
                "config.json",
                "no config.json, no tokenizer.json, no *.safetensors",
            ),
            (
                "tokenizer.json",
                "it has no tokenizer.json, no *.safetensors",
            ),
            (
                "model-00001-of-00002.safetensors",
                "it has no *.safetensors",
            ),
        ];
        for (file, lacking) in files {
            let text = refusal(directory.path());
            assert!(text.ends_with(lacking), "{text}");
            std::fs::write(directory.path().join(file), "").expect("written");
        }
        assert_eq!(
            given_model(directory.path()).expect("complete"),
            directory.path()
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_python_that_cannot_be_run_is_told_from_one_without_packages() {
        let cases = [
            (
                "/nowhere/python",
                "cannot run /nowhere/python: No such file",
                "the path of a Python",
            ),
            // It ends well and prints nothing.
            (
                "true",
                "true has no torch, no transformers",
                "`true -m pip install torch",
            ),
        ];
        for (python, says, advises) in cases {
            let report = Python::given(Path::new(python)).err().expect("of no use");
            let text = report.to_string();
            assert!(text.contains(says), "{text}");
            let help = report.help().expect("there is some").to_string();
            assert!(help.contains(advises), "{help}");
        }
    }
}
