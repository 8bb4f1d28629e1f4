//! Where several processes begin: the first checks and prepares the run's folder, and tells the
//! others.

use std::path::Path;

use burn::tensor::Device;
use plw_model::Llama;
use plw_record::{RunConfig, TrainingSummary, checkpoint_name, latest_checkpoint};
use plw_transport::Transport;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{load_moments, restore};
use crate::run::{Beginning, Observer, Run};
use crate::start::{Start, start};
use crate::trainer_state::{TrainerState, digest_of_state, read_state};
use crate::{Optimizer, TrainError};

/// What the first process has found.
#[derive(Serialize, Deserialize)]
enum Found {
    Complete(Box<TrainingSummary>),
    At(Box<TrainerState>, Beginning),
}

/// [`start`] for every process: all begin with the same weights, moments and state.
pub(crate) fn start_together(
    run: &Run<'_>,
    total_steps: u64,
    model: Llama,
    optimizer: &mut Optimizer,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Start, TrainError> {
    let transport = run.transport;
    check_same(run.config, transport)?;
    // Before the first process changes anything.
    check_same_checkpoint(run, transport)?;
    if transport.rank() == 0 {
        let started = start(run, total_steps, model, optimizer, device, observer)?;
        if transport.world_size() > 1 {
            transport.broadcast(announcement(&started))?;
        }
        return Ok(started);
    }
    let bytes = transport.broadcast(Vec::new())?;
    let found = serde_json::from_slice(&bytes);
    match found.expect("the first process has this type") {
        Found::Complete(summary) => Ok(Start::Complete(summary)),
        Found::At(state, beginning) => {
            let mut model = model;
            if let Beginning::Checkpoint { step, .. } = beginning {
                let path = run.directory.checkpoints().join(checkpoint_name(step));
                model = restore(model, &path, device)?;
                load_moments(optimizer, &model, &path, step, &device.clone().inner())?;
            }
            Ok(Start::At(Box::new((model, *state, beginning))))
        }
    }
}

fn announcement(started: &Start) -> Vec<u8> {
    let found = match started {
        Start::Complete(summary) => Found::Complete(summary.clone()),
        Start::At(started) => Found::At(Box::new(started.1.clone()), started.2),
    };
    serde_json::to_vec(&found).expect("records are written as JSON")
}

/// Checks that every process finds the checkpoint that the first one would resume from, with the
/// files that its digests tell of. The first compares its own when it resumes.
fn check_same_checkpoint(run: &Run<'_>, transport: &dyn Transport) -> Result<(), TrainError> {
    if !run.resume || transport.world_size() == 1 {
        return Ok(());
    }
    let checkpoints = run.directory.checkpoints();
    let latest = match transport.rank() {
        0 => latest_checkpoint(&checkpoints)?,
        _ => None,
    };
    let name = latest.as_deref().and_then(Path::file_name);
    let name = name.map_or(Vec::new(), |name| name.as_encoded_bytes().to_vec());
    let name = transport.broadcast(name)?;
    if name.is_empty() {
        return Ok(());
    }
    let path = &checkpoints.join(String::from_utf8_lossy(&name).as_ref());
    let digest = match transport.rank() {
        0 => digest_of_state(path),
        _ => read_state(path).and_then(|_| digest_of_state(path)),
    };
    // One that has another, or none, tells the others first.
    let own = digest.unwrap_or_default();
    match transport.first_that_differs(own.as_bytes())? {
        None => Ok(()),
        Some(rank) => Err(TrainError::OtherFolder {
            rank,
            path: path.to_path_buf(),
        }),
    }
}

/// Checks that every process has the settings and the files of the first.
fn check_same(config: &RunConfig, transport: &dyn Transport) -> Result<(), TrainError> {
    match transport.first_that_differs(config.hash().as_bytes())? {
        None => Ok(()),
        Some(rank) => Err(TrainError::OtherProcess { rank }),
    }
}
