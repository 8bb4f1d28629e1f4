//! Checkpoints: a Hugging Face (or PEFT) directory plus what the trainer needs to go on bit for bit.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use plw_kernels::Moments;
use plw_model::{Llama, StoredTensor, WeightType, open_tensors, write_tensors};
use plw_record::{
    EvaluationRow, RecordError, checkpoint_name, update_latest, write_directory_atomic,
};
use serde::{Deserialize, Serialize};

use crate::{Optimizer, TrainError};

/// What a run has done so far, but for the weights and the moments.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainerState {
    /// Optimizer steps taken.
    pub step: u64,
    /// Tokens trained on, each sequence counting its own.
    pub tokens: u64,
    /// Positions computed, padding included.
    pub tokens_computed: u64,
    /// Questions trained on.
    pub questions: u64,
    /// Seconds of all steps.
    pub seconds: f64,
    /// Of the steps that the speed is taken from, those after the second of each process: tokens.
    pub timed_tokens: u64,
    /// Of the same steps: questions.
    pub timed_questions: u64,
    /// Of the same steps: seconds.
    pub timed_seconds: f64,
    /// Objective of the last step.
    pub train_loss: Option<f64>,
    /// The evaluation before the first step.
    pub initial: Option<EvaluationRow>,
    /// The last evaluation on the validation questions.
    pub last: Option<EvaluationRow>,
    /// The best one, by accuracy, the earliest of equals.
    pub best: Option<EvaluationRow>,
}

const STATE_FILE: &str = "trainer_state/state.json";
const OPTIMIZER_FILE: &str = "trainer_state/optimizer.safetensors";

/// Writes `checkpoints/step-N`, complete or not at all, and lets `latest` point at it.
///
/// Weights are kept in f32, whatever they were read from: anything less would not go on bit for bit. `companions` (the tokenizer's
/// files) are copied beside them.
pub(crate) fn save(
    checkpoints: &Path,
    model: &Llama,
    optimizer: &Optimizer,
    state: &TrainerState,
    companions: &[PathBuf],
) -> Result<PathBuf, TrainError> {
    let name = checkpoint_name(state.step);
    let path = checkpoints.join(&name);
    write_directory_atomic(&path, |directory| -> Result<(), TrainError> {
        match model.lora() {
            Some(_) => plw_model::save_adapter(model, directory)?,
            None => plw_model::save_llama(model, directory, WeightType::F32)?,
        }
        for companion in companions {
            if let Some(file_name) = companion.file_name() {
                fs::copy(companion, directory.join(file_name))
                    .map_err(RecordError::io("copy", companion))?;
            }
        }
        let trainer_state = directory.join("trainer_state");
        fs::create_dir_all(&trainer_state)
            .map_err(RecordError::io("make the directory", &trainer_state))?;
        let state_file = directory.join(STATE_FILE);
        let json = serde_json::to_vec_pretty(state).map_err(|error| TrainError::TrainerState {
            path: state_file.clone(),
            problem: error.to_string(),
        })?;
        fs::write(&state_file, json).map_err(RecordError::io("write", &state_file))?;
        save_moments(optimizer, &directory.join(OPTIMIZER_FILE))
    })?;
    update_latest(checkpoints, &name)?;
    Ok(path)
}

/// Reads what [`save`] wrote beside the weights.
pub(crate) fn load_state(checkpoint: &Path) -> Result<TrainerState, TrainError> {
    let path = checkpoint.join(STATE_FILE);
    let bytes = fs::read(&path).map_err(RecordError::io("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|error| TrainError::TrainerState {
        path,
        problem: error.to_string(),
    })
}

fn save_moments(optimizer: &Optimizer, path: &Path) -> Result<(), TrainError> {
    let tensors = optimizer.moments.iter().flat_map(|(name, moments)| {
        [("first", &moments.first), ("second", &moments.second)].map(|(kind, values)| {
            StoredTensor {
                name: format!("{kind}.{name}"),
                shape: values.dims().into(),
                values: values.clone(),
            }
        })
    });
    let metadata = [("steps".to_string(), optimizer.steps.to_string())].into();
    write_tensors(path, tensors, WeightType::F32, metadata).map_err(|error| {
        TrainError::TrainerState {
            path: path.to_path_buf(),
            problem: error.to_string(),
        }
    })
}

/// Gives an optimizer the moments of a checkpoint.
pub(crate) fn load_moments(
    optimizer: &mut Optimizer,
    checkpoint: &Path,
    device: &Device,
) -> Result<(), TrainError> {
    let path = checkpoint.join(OPTIMIZER_FILE);
    let failed = |problem: String| TrainError::TrainerState {
        path: path.clone(),
        problem,
    };
    let (mut file, data, metadata) =
        open_tensors(&path).map_err(|error| failed(error.to_string()))?;
    let steps = metadata
        .metadata()
        .as_ref()
        .and_then(|m| m.get("steps"))
        .and_then(|steps| steps.parse().ok());
    optimizer.steps = steps.ok_or_else(|| failed("the number of steps is missing".to_string()))?;
    let mut parts = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        file.seek(SeekFrom::Start(data + start as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(RecordError::io("read", &path))?;
        // The file's bytes need not be aligned for f32.
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let count = values.len();
        parts.insert(
            name,
            Tensor::<1>::from_data(TensorData::new(values, [count]), device),
        );
    }
    optimizer.moments.clear();
    while let Some((name, first)) = parts.pop_first() {
        let Some(parameter) = name.strip_prefix("first.") else {
            return Err(failed(format!("{name} is not expected")));
        };
        let second = parts
            .remove(&format!("second.{parameter}"))
            .ok_or_else(|| failed(format!("second.{parameter} is missing")))?;
        optimizer
            .moments
            .insert(parameter.to_string(), Moments { first, second });
    }
    Ok(())
}
