//! `trainer_state/state.json` of a checkpoint: where a run was, and digests of the checkpoint's
//! files. What a checkpoint holds is used only after it was compared with them.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use plw_files::{FileError, MOST_SETTINGS, digest, digest_file, read_bounded, write_json_atomic};
use plw_record::{EvaluationRow, step_of};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TrainError;

/// The state of a run, without the weights and the moments.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainerState {
    /// Optimizer steps taken.
    pub step: u64,
    /// Optimizer steps of the whole run, as its settings were then. 0 in checkpoints of plw before
    /// it kept digests.
    #[serde(default)]
    pub total_steps: u64,
    /// [`plw_record::RunConfig::step_hash`] of the run. Empty in the same old checkpoints.
    #[serde(default)]
    pub run: String,
    /// Tokens trained on. A prefix counts once for each sequence that shares it.
    pub tokens: u64,
    /// Positions computed, padding included.
    pub tokens_computed: u64,
    /// Questions trained on.
    pub questions: u64,
    /// Seconds of all steps.
    pub seconds: f64,
    /// Tokens of the timed steps: those after the second step of each process.
    pub timed_tokens: u64,
    /// Questions of the timed steps.
    pub timed_questions: u64,
    /// Seconds of the timed steps.
    pub timed_seconds: f64,
    /// Objective of the last step.
    pub train_loss: Option<f64>,
    /// The evaluation before the first step.
    pub initial: Option<EvaluationRow>,
    /// The last evaluation on the validation questions.
    pub last: Option<EvaluationRow>,
    /// The evaluation with the best accuracy, the earliest of equals.
    pub best: Option<EvaluationRow>,
}

/// Whether a checkpoint's files were compared with their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Each is as it was written.
    ByDigests,
    /// It is of a version of plw that kept no digests.
    WithoutDigests,
}

/// The directory in a checkpoint that holds what only the trainer reads.
pub(crate) const TRAINER_STATE: &str = "trainer_state";
const STATE_FILE: &str = "trainer_state/state.json";

/// The key under which `state.json` has the digest of every other file of its checkpoint.
const FILES: &str = "files";
/// The key, the last one, under which `state.json` has the digest of its other keys.
const DIGEST: &str = "digest";

/// Writes the state of a checkpoint whose other files are complete, with their digests.
pub(crate) fn write_state(checkpoint: &Path, state: &TrainerState) -> Result<(), TrainError> {
    let path = checkpoint.join(STATE_FILE);
    let unusable = |error: serde_json::Error| unusable(&path, error);
    let mut keys = match serde_json::to_value(state).map_err(unusable)? {
        Value::Object(keys) => keys,
        _ => Map::new(),
    };
    let files = files_of(checkpoint)?.into_iter();
    let digests = files.map(|name| -> Result<_, FileError> {
        let digest = digest_file(checkpoint.join(&name))?;
        Ok((name, Value::from(digest)))
    });
    let digests: Map<String, Value> = digests.collect::<Result<_, FileError>>()?;
    keys.insert(FILES.to_string(), Value::Object(digests));
    let own = digest_of(&keys).map_err(unusable)?;
    keys.insert(DIGEST.to_string(), Value::from(own));
    Ok(write_json_atomic(&path, &keys)?)
}

/// Reads the state of a checkpoint, after it has compared every file of it with its digest.
///
/// # Errors
///
/// If a file is not as it was written, or the state is not that of any run at this step.
pub fn read_state(checkpoint: &Path) -> Result<(TrainerState, Verified), TrainError> {
    let path = checkpoint.join(STATE_FILE);
    let (keys, verified) = read_keys(&path)?;
    check_files(checkpoint, &keys, |_| true)?;
    let state: TrainerState =
        serde_json::from_value(Value::Object(keys)).map_err(|error| unusable(&path, error))?;
    check_steps(&state).map_err(|problem| damaged(&path, problem))?;
    let name = checkpoint.file_name().and_then(|name| name.to_str());
    match name.and_then(step_of) {
        Some(step) if step != state.step => {
            let problem = format!(
                "it is of step {}, under the name of step {step}",
                state.step
            );
            Err(damaged(&path, problem))
        }
        _ => Ok((state, verified)),
    }
}

/// Checks that nothing in a state is later than its step, and that its step is one of the run's.
fn check_steps(state: &TrainerState) -> Result<(), String> {
    let (step, total) = (state.step, state.total_steps);
    if total > 0 && step > total {
        return Err(format!("it is of step {step} of a run of {total} steps"));
    }
    let evaluations = [&state.initial, &state.last, &state.best];
    let later = evaluations
        .into_iter()
        .flatten()
        .find(|row| row.step > step);
    match later {
        Some(row) => Err(format!(
            "it is of step {step}, with an evaluation of step {}",
            row.step
        )),
        None => Ok(()),
    }
}

/// Compares the model in a checkpoint with its digests, for those who use it as any model. A
/// directory that is no checkpoint passes.
///
/// # Errors
///
/// If a file is not as it was written.
pub fn check_saved_model(directory: &Path) -> Result<(), TrainError> {
    let path = directory.join(STATE_FILE);
    if !path.exists() {
        return Ok(());
    }
    let checked = read_keys(&path).and_then(|(keys, _)| {
        let is_model = |name: &str| !Path::new(name).starts_with(TRAINER_STATE);
        check_files(directory, &keys, is_model)
    });
    checked.map_err(|error| match error {
        TrainError::TrainerState { path, problem } => TrainError::SavedModel { path, problem },
        other => other,
    })
}

/// The keys of `state.json` but for its own digest, which is checked.
fn read_keys(path: &Path) -> Result<(Map<String, Value>, Verified), TrainError> {
    let bytes = read_bounded(path, MOST_SETTINGS)?;
    let unusable = |error: serde_json::Error| unusable(path, error);
    let mut keys: Map<String, Value> = serde_json::from_slice(&bytes).map_err(unusable)?;
    match keys.shift_remove(DIGEST) {
        Some(own) if own == digest_of(&keys).map_err(unusable)? => Ok((keys, Verified::ByDigests)),
        Some(_) => Err(damaged(
            path,
            "the file is not as it was written: its digest is another",
        )),
        None if keys.contains_key(FILES) || keys.contains_key("total_steps") => {
            Err(damaged(path, "its digest is missing"))
        }
        None => Ok((keys, Verified::WithoutDigests)),
    }
}

/// Compares the wanted files of a checkpoint with their digests. Others beside them change nothing.
fn check_files(
    checkpoint: &Path,
    keys: &Map<String, Value>,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), TrainError> {
    let files = keys.get(FILES).and_then(Value::as_object);
    for (name, written) in files.into_iter().flatten() {
        let mut parts = Path::new(name).components();
        if name.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            let problem = format!("it names {name:?}, which is not a file of the checkpoint");
            return Err(damaged(&checkpoint.join(STATE_FILE), problem));
        }
        if !wanted(name) {
            continue;
        }
        let path = checkpoint.join(name);
        let now = match digest_file(&path) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(&path, "the file is missing"));
            }
            now => now?,
        };
        if written.as_str() != Some(&now) {
            let problem = "the file is not as it was written: its digest is another";
            return Err(damaged(&path, problem));
        }
    }
    Ok(())
}

/// The files of a checkpoint but for its state, by their names relative to it, sorted.
fn files_of(checkpoint: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for (folder, prefix) in [("", ""), (TRAINER_STATE, "trainer_state/")] {
        let path = checkpoint.join(folder);
        for entry in fs::read_dir(&path).map_err(FileError::cannot("list", &path))? {
            let entry = entry.map_err(FileError::cannot("list", &path))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_file() && name != STATE_FILE {
                names.push(name);
            }
        }
    }
    names.sort();
    Ok(names)
}

fn digest_of(keys: &Map<String, Value>) -> serde_json::Result<String> {
    Ok(digest(serde_json::to_vec(keys)?))
}

fn unusable(path: &Path, error: serde_json::Error) -> TrainError {
    damaged(path, error.to_string())
}

/// A file of a checkpoint that cannot be used.
pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> TrainError {
    TrainError::TrainerState {
        path: PathBuf::from(path),
        problem: problem.into(),
    }
}
