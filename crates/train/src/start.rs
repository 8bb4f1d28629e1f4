//! Where a run begins: at step 0, or at its last complete checkpoint.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use plw_files::{FileError, Verified, remove_partial, write_atomic};
use plw_model::Llama;
use plw_record::{
    RunConfig, RunDirectory, TrainingSummary, latest_checkpoint, resume_evaluations, resume_metrics,
};

use crate::checkpoint::{load_moments, require_moments, restore};
use crate::counted_records::check_records;
use crate::length::{Length, check_length};
use crate::run::{Beginning, Observer, Run};
use crate::trainer_state::{TRAINER_STATE, TrainerState, read_state};
use crate::validation::best_of;
use crate::{Optimizer, TrainError};

/// What the run finds.
pub(crate) enum Start {
    Complete(Box<TrainingSummary>),
    At(Box<(Llama, TrainerState, Beginning)>),
}

/// Checks that a run with these settings can begin in a directory, or resume there, and changes
/// nothing: [`crate::train`] does the same before its first step.
///
/// # Errors
///
/// If the directory holds a run and `resume` is false, a run with other settings, or records of
/// which no `config.toml` says what they are.
pub fn check_directory(
    directory: &RunDirectory,
    config: &RunConfig,
    resume: bool,
) -> Result<(), TrainError> {
    let path = directory.path.clone();
    if !directory.config().exists() {
        return match directory.first_record() {
            None => Ok(()),
            Some(record) => Err(TrainError::NotARun {
                record: record
                    .strip_prefix(&path)
                    .unwrap_or(&record)
                    .display()
                    .to_string(),
                path,
            }),
        };
    }
    if !resume {
        return Err(TrainError::RunExists { path });
    }
    let before = directory.read_config()?.without_length();
    match before.difference(&config.without_length()) {
        None => Ok(()),
        Some(difference) => Err(TrainError::OtherRun { path, difference }),
    }
}

/// A new run, or the weights, moments and state of the last complete checkpoint. Later lines are
/// cut from the logs.
pub(crate) fn start(
    run: &Run<'_>,
    total_steps: u64,
    model: Llama,
    optimizer: &mut Optimizer,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Start, TrainError> {
    let directory = run.directory;
    check_directory(directory, run.config, run.resume)?;
    let is_new = !directory.config().exists();
    let same_length = !is_new && directory.read_config()?.difference(run.config).is_none();
    if same_length && directory.is_complete() {
        let (summary, _) = directory.read_summary()?;
        return Ok(Start::Complete(Box::new(summary)));
    }
    if let Some(path) = latest_checkpoint(directory.checkpoints())? {
        let (mut state, length) = read_checkpoint(run, &path, total_steps, same_length, observer)?;
        let beginning = Beginning::Checkpoint {
            step: state.step,
            total_steps: length.former,
        };
        let model = restore(model, &path, device)?;
        load_moments(
            optimizer,
            &model,
            &path,
            state.step,
            &device.clone().inner(),
        )?;
        resume_logs(run, &mut state, length)?;
        // A run that is extended is not complete any more. Its new length is written last: a kill
        // before leaves the former one.
        if directory.is_complete() {
            let summary = directory.summary();
            fs::remove_file(&summary).map_err(FileError::cannot("remove", &summary))?;
        }
        run.config.write(directory.config())?;
        return Ok(Start::At(Box::new((model, state, beginning))));
    }
    if directory.is_complete() {
        return Err(TrainError::Length {
            path: directory.path.clone(),
            steps: total_steps,
            reason: "it is complete, and it has no checkpoint to continue from".to_string(),
        });
    }
    let beginning = match is_new {
        true => Beginning::New,
        false => Beginning::WithoutCheckpoint,
    };
    if !is_new {
        for log in [directory.metrics(), directory.evaluations()] {
            write_atomic(log, [])?;
        }
    }
    run.config.write(directory.config())?;
    let state = TrainerState {
        total_steps,
        run: run.config.step_hash(),
        ..TrainerState::default()
    };
    Ok(Start::At(Box::new((model, state, beginning))))
}

/// The state of a checkpoint, once its files are those that were written, it is one of this run,
/// and the run may have the length that is asked for.
fn read_checkpoint(
    run: &Run<'_>,
    path: &Path,
    total_steps: u64,
    same_length: bool,
    observer: &mut dyn Observer,
) -> Result<(TrainerState, Length), TrainError> {
    // A killed process may have left a half-written state beside the whole one.
    remove_partial(path.join(TRAINER_STATE))?;
    let (mut state, verified) = read_state(path)?;
    if verified == Verified::WithoutDigests {
        observer.warned(&format!(
            "{} is of an earlier version of plw, which kept no digests: whether its files are as \
             they were written cannot be checked",
            path.display()
        ));
    }
    let this_run = run.config.step_hash();
    if !state.run.is_empty() && state.run != this_run {
        return Err(TrainError::OtherCheckpoint {
            path: path.to_path_buf(),
        });
    }
    require_moments(path)?;
    let former = match state.total_steps {
        // An earlier version of plw did not write it down.
        0 if same_length => total_steps,
        0 if run.directory.is_complete() => run.directory.read_summary()?.0.steps,
        0 => 0,
        steps => steps,
    };
    let length = Length {
        former,
        now: total_steps,
    };
    check_length(run, &state, length)?;
    (state.run, state.total_steps) = (this_run, total_steps);
    Ok((state, length))
}

/// Cuts from the logs what follows the checkpoint, after checking that what it counts on is there.
///
/// The last step is logged and evaluated whatever the intervals. Where the run had another last
/// step than now, both are taken back, as a run of the new length would not have them.
fn resume_logs(run: &Run<'_>, state: &mut TrainerState, length: Length) -> Result<(), TrainError> {
    let former_end = length.former_end(state.step);
    cut_logs(run, state, length)?;
    // Rows of a former last step are taken back, so that the logs are others than before.
    let logs = [run.directory.metrics(), run.directory.evaluations()];
    let is_wanted = |path: &Path| former_end.is_none() || !logs.iter().any(|log| log == path);
    check_records(run.directory, &state.records, is_wanted)
}

fn cut_logs(run: &Run<'_>, state: &mut TrainerState, length: Length) -> Result<(), TrainError> {
    let (directory, step) = (run.directory, state.step);
    let former_end = length.former_end(step);
    let is_logged = |step| run.training.logs_after(step, length.now);
    resume_metrics(
        directory.metrics(),
        (1..=step).filter(|&step| is_logged(step)),
        |row| row > step || (former_end == Some(row) && !is_logged(row)),
    )?;
    // An evaluation of this step that the checkpoint's state does not hold is repeated.
    let Some(last) = state.last.as_ref().map(|row| row.step) else {
        return Ok(resume_evaluations(directory.evaluations(), [], |_| true)?);
    };
    let is_evaluated = |step| run.training.evaluates_after(step, length.now);
    resume_evaluations(
        directory.evaluations(),
        (0..=last).filter(|&step| is_evaluated(step)),
        |row| row > last || (former_end == Some(row) && !is_evaluated(row)),
    )?;
    if former_end == Some(last) && !is_evaluated(last) {
        let rows = directory.read_evaluations()?;
        state.best = best_of(&rows).cloned();
        state.last = rows.last().cloned();
    }
    Ok(())
}
