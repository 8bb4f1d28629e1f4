//! What all runs need: programs, models and rows, as far as they are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::{Result, miette};

use super::FOLDER;
use super::cases::Case;
use crate::parity::{self, python};
use crate::workspace::Workspace;

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
    pub(super) python: PathBuf,
    /// `peer.py`.
    pub(super) script: PathBuf,
    /// Of Python and of the packages that it imports.
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

/// The peer with the Python given, else with parity's environment or the system's Python, where its packages are installed.
///
/// # Errors
///
/// Where the Python that was given lacks one.
pub(super) fn peer(
    workspace: &Workspace,
    shared: &Path,
    given: Option<&Path>,
) -> Result<Option<Peer>> {
    let script = shared.join("peer/peer.py");
    if !script.is_file() {
        return Ok(None);
    }
    let of = |python: PathBuf, versions| Peer {
        python,
        script: script.clone(),
        versions,
    };
    if let Some(given) = given {
        let python = python::resolve(given)?;
        let versions = python::peer_versions(&python).map_err(|report| {
            miette!(
                help = "install the packages that ../shared/README.md names there, or leave --python out",
                "{} cannot run the peer: {report}",
                given.display()
            )
        })?;
        return Ok(Some(of(python, versions)));
    }
    let (made, complete) = python::made(workspace);
    let made = complete.is_file().then_some(made);
    let candidates = made.into_iter().chain([PathBuf::from("python3")]);
    let mut usable = candidates.filter_map(|python| {
        let versions = python::peer_versions(&python).ok()?;
        Some(of(python, versions))
    });
    Ok(usable.next())
}
