//! `trainer_state/state.json` of a checkpoint: where a run was, and digests of the checkpoint's
//! files. What a checkpoint holds is used only after it was compared with them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use plw_files::{FileError, Verified, check_sealed_files, digest_file, read_sealed, write_sealed};
use plw_record::{EvaluationRow, step_of};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TrainError;
use crate::counted_records::CountedRecord;

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
    /// The last evaluation on the validation examples.
    pub last: Option<EvaluationRow>,
    /// The evaluation with the best accuracy, or without questions the lowest completion loss; the
    /// earliest of equals.
    pub best: Option<EvaluationRow>,
    /// The logs and predictions until then, by their paths from the run's folder.
    #[serde(default)]
    pub records: BTreeMap<String, CountedRecord>,
}

/// The directory in a checkpoint that holds what only the trainer reads.
pub(crate) const TRAINER_STATE: &str = "trainer_state";
const STATE_FILE: &str = "trainer_state/state.json";

/// Writes the state of a checkpoint whose other files are complete, with their digests.
pub(crate) fn write_state(checkpoint: &Path, state: &TrainerState) -> Result<(), TrainError> {
    let path = checkpoint.join(STATE_FILE);
    let keys = match serde_json::to_value(state) {
        Ok(Value::Object(keys)) => keys,
        Ok(_) => Map::new(),
        Err(error) => return Err(damaged(&path, error.to_string())),
    };
    let files = files_of(checkpoint)?;
    Ok(write_sealed(&path, keys, checkpoint, files)?)
}

/// Reads the state of a checkpoint, after it has compared every file of it with its digest.
///
/// # Errors
///
/// If a file is not as it was written, or the state is not that of any run at this step.
pub fn read_state(checkpoint: &Path) -> Result<(TrainerState, Verified), TrainError> {
    let path = checkpoint.join(STATE_FILE);
    let (keys, verified) = read_keys(checkpoint, |_| true).map_err(unusable)?;
    let state: TrainerState = serde_json::from_value(Value::Object(keys))
        .map_err(|error| damaged(&path, error.to_string()))?;
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
    let is_model = |name: &str| !Path::new(name).starts_with(TRAINER_STATE);
    match read_keys(directory, is_model) {
        Ok(_) => Ok(()),
        Err(FileError { path, source, .. }) => Err(TrainError::SavedModel {
            path,
            problem: source.to_string(),
        }),
    }
}

/// The digest of a checkpoint's state, which has those of its other files.
pub(crate) fn digest_of_state(checkpoint: &Path) -> Result<String, TrainError> {
    Ok(digest_file(checkpoint.join(STATE_FILE))?)
}

/// The keys of `state.json`, once it and the wanted files were compared with their digests.
fn read_keys(
    checkpoint: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<(Map<String, Value>, Verified), FileError> {
    let path = checkpoint.join(STATE_FILE);
    let (keys, verified) = read_sealed(&path)?;
    if verified == Verified::WithoutDigests && keys.contains_key("total_steps") {
        let problem = io::Error::new(io::ErrorKind::InvalidData, "its digests are missing");
        return Err(FileError::cannot("read", &path)(problem));
    }
    check_sealed_files(&keys, checkpoint, wanted)?;
    Ok((keys, verified))
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

fn unusable(error: FileError) -> TrainError {
    TrainError::TrainerState {
        path: error.path,
        problem: error.source,
    }
}

/// A file of a checkpoint that cannot be used.
pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> TrainError {
    TrainError::TrainerState {
        path: PathBuf::from(path),
        problem: io::Error::other(problem.into()),
    }
}
