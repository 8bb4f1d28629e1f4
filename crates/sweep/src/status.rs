//! How far a sweep is: the state of every run.

use std::path::Path;

use plw_record::{RunDirectory, latest_checkpoint, step_of};
use serde::Serialize;

use crate::attempt_folder::{heartbeat_of, run_of};
use crate::event::{last_attempt, read_events};
use crate::heartbeat::read_progress;
use crate::lease::{Standing, standing};
use crate::{EventKind, ListedRun, SweepError, Worker, read_list};

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody has begun.
    Waiting,
    /// A worker is at it.
    Running,
    /// Its worker has ended without a word, or has been silent for too long. The next one goes on.
    Silent,
    /// It was stopped at a checkpoint. The next worker goes on.
    Stopped,
    /// The last attempt failed.
    Failed,
    /// It is done.
    Complete,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Complete => "complete",
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunStatus {
    /// Its index in the sweep.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Who works on it, or did last.
    pub worker: Option<Worker>,
    /// What a running worker does.
    pub phase: Option<String>,
    /// Steps taken; of a run that is not running, steps that its last checkpoint holds.
    pub step: Option<u64>,
    /// Steps of the whole run, once a worker knows them.
    pub total_steps: Option<u64>,
    /// Seconds that the remaining steps will take at the speed of the last ones. Evaluations come
    /// on top.
    pub seconds_left: Option<f64>,
    /// Why it stopped or failed.
    pub reason: Option<String>,
}

impl RunStatus {
    /// That of a run that nobody has begun.
    fn waiting(listed: &ListedRun) -> Self {
        Self {
            index: listed.index,
            name: listed.name.clone(),
            state: State::Waiting,
            attempts: 0,
            worker: None,
            phase: None,
            step: None,
            total_steps: None,
            seconds_left: None,
            reason: None,
        }
    }
}

/// The state of every run of the sweep in a folder.
///
/// # Errors
///
/// If the folder holds no sweep. A run whose events cannot be read has failed, for that reason.
pub fn status(sweep: &Path) -> Result<Vec<RunStatus>, SweepError> {
    let this = Worker::this();
    let runs = read_list(sweep)?.runs;
    let of = |listed: &ListedRun| {
        status_of(sweep, listed, &this).unwrap_or_else(|error| RunStatus {
            state: State::Failed,
            reason: Some(error.to_string()),
            ..RunStatus::waiting(listed)
        })
    };
    Ok(runs.iter().map(of).collect())
}

fn status_of(sweep: &Path, listed: &ListedRun, this: &Worker) -> Result<RunStatus, SweepError> {
    let run = RunDirectory::new(sweep.join(&listed.name));
    let is_complete = run.is_complete();
    let events = match read_events(&run.path) {
        // What led to its result counts no more.
        Err(_) if is_complete => Vec::new(),
        events => events?,
    };
    let attempt = last_attempt(&events).map(|(attempt, _)| attempt.clone());
    let mut status = RunStatus {
        attempts: attempt.as_ref().map_or(0, |attempt| attempt.number),
        worker: attempt.as_ref().map(|attempt| attempt.worker.clone()),
        ..RunStatus::waiting(listed)
    };
    if is_complete {
        status.state = State::Complete;
        return Ok(status);
    }
    let progress = attempt
        .as_ref()
        .and_then(|attempt| read_progress(&heartbeat_of(&run, &attempt.folder)));
    status.total_steps = progress
        .as_ref()
        .map(|progress| progress.total_steps)
        .filter(|&total| total > 0);
    match standing(&run, &events, this) {
        Standing::Held(_) => {
            status.state = State::Running;
            if let Some(progress) = progress {
                status.seconds_left = progress.seconds_per_step.map(|seconds| {
                    seconds * progress.total_steps.saturating_sub(progress.step) as f64
                });
                status.step = Some(progress.step).filter(|_| status.total_steps.is_some());
                status.phase = Some(progress.phase);
            }
            return Ok(status);
        }
        Standing::Complete(folder) if !run_of(&run, &folder).path.exists() => {
            return Err(SweepError::Gone {
                path: run_of(&run, &folder).path,
            });
        }
        Standing::Complete(_) => {
            status.state = State::Running;
            status.phase = Some("publishing".to_string());
            return Ok(status);
        }
        Standing::Free(_) => {}
    }
    // A run without events is one that `plw train` began here by itself.
    let is_written = attempt.is_none() && run.is_written();
    let directory = match &attempt {
        Some(attempt) => run_of(&run, &attempt.folder),
        None => run,
    };
    let checkpoint = latest_checkpoint(directory.checkpoints())?;
    let name = checkpoint.as_deref().and_then(Path::file_name);
    status.step = name.and_then(|name| step_of(name.to_str()?));
    (status.state, status.reason) = match events.last().map(|event| &event.kind) {
        Some(EventKind::Stopped { reason, .. }) => (State::Stopped, Some(reason.clone())),
        Some(EventKind::Failed { reason, .. }) => (State::Failed, Some(reason.clone())),
        Some(_) => (State::Silent, None),
        None if is_written => (State::Running, None),
        None if directory.config().exists() => (State::Stopped, None),
        None => (State::Waiting, None),
    };
    Ok(status)
}
