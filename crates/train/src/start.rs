//! Where a run begins: at step 0, or at its last complete checkpoint.

use std::path::Path;

use burn::tensor::Device;
use plw_model::{CheckpointError, Llama};
use plw_record::{
    RunConfig, RunDirectory, TrainingSummary, latest_checkpoint, truncate_evaluations_after,
    truncate_metrics_after,
};

use crate::checkpoint::{self, TrainerState};
use crate::run::Run;
use crate::{Optimizer, TrainError};

/// What the run finds.
pub(crate) enum Start {
    Complete(Box<TrainingSummary>),
    At(Box<(Llama, TrainerState)>),
}

/// Refuses a directory that holds something else than this run, before anything is read for it.
///
/// # Errors
///
/// If it holds a run that is not to be resumed, a run with other settings, or the results of
/// something else.
pub fn check_directory(
    directory: &RunDirectory,
    config: &RunConfig,
    resume: bool,
) -> Result<(), TrainError> {
    let path = || directory.path.clone();
    if !directory.config().exists() {
        return match directory.is_complete() {
            true => Err(TrainError::NotARun { path: path() }),
            false => Ok(()),
        };
    }
    if !resume {
        return Err(TrainError::RunExists { path: path() });
    }
    match directory.read_config()?.difference(config) {
        None => Ok(()),
        Some(difference) => Err(TrainError::OtherRun {
            path: path(),
            difference,
        }),
    }
}

/// A new run, or the weights, moments and state of the last complete checkpoint. Later lines are
/// cut from the logs.
pub(crate) fn start(
    run: &Run<'_>,
    model: Llama,
    optimizer: &mut Optimizer,
    device: &Device,
) -> Result<Start, TrainError> {
    let directory = run.directory;
    check_directory(directory, run.config, run.resume)?;
    if directory.config().exists() {
        if directory.is_complete() {
            return Ok(Start::Complete(Box::new(directory.read_summary()?)));
        }
        if let Some(path) = latest_checkpoint(directory.checkpoints())? {
            let state = checkpoint::load_state(&path)?;
            let restored = restore(model, &path, device);
            let model = restored.map_err(|problem| TrainError::Checkpoint {
                path: path.clone(),
                problem: Box::new(problem),
            })?;
            checkpoint::load_moments(optimizer, &model, &path, &device.clone().inner())?;
            truncate_metrics_after(directory.metrics(), state.step)?;
            // An evaluation of this step that the checkpoint's state does not hold is repeated.
            truncate_evaluations_after(
                directory.evaluations(),
                state.last.as_ref().map(|row| row.step),
            )?;
            return Ok(Start::At(Box::new((model, state))));
        }
        for log in [directory.metrics(), directory.evaluations()] {
            plw_files::write_atomic(log, [])?;
        }
    }
    run.config.write(directory.config())?;
    Ok(Start::At(Box::new((model, TrainerState::default()))))
}

/// The weights of a checkpoint: all of them, or the adapter on top of the model's.
pub(crate) fn restore(
    model: Llama,
    checkpoint: &Path,
    device: &Device,
) -> Result<Llama, CheckpointError> {
    match model.lora() {
        Some(_) => plw_model::load_adapter(model, checkpoint),
        None => plw_model::load_llama(checkpoint, device),
    }
}
