//! Checkpoints: a Hugging Face or PEFT directory, plus the state from which the trainer resumes
//! with bit-identical results.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use plw_files::{FileError, copy_atomic, write_directory_atomic};
use plw_kernels::Moments;
use plw_model::{CheckpointError, Llama, StoredTensor, TensorFiles, WeightType, write_tensors};
use plw_record::{EvaluationRow, checkpoint_name, update_latest};
use serde::{Deserialize, Serialize};

use crate::{Optimizer, TrainError};

/// The state of a run, without the weights and the moments.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainerState {
    /// Optimizer steps taken.
    pub step: u64,
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

const STATE_FILE: &str = "trainer_state/state.json";
const OPTIMIZER_FILE: &str = "trainer_state/optimizer.safetensors";

/// Writes `checkpoints/step-N`, complete or not at all, and makes `latest` name it.
///
/// Weights are stored in f32, whatever they were read from: a smaller type would change the results
/// of a resumed run. `companions` (the files of the tokenizer) are copied beside them.
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
                copy_atomic(companion, directory.join(file_name))?;
            }
        }
        let trainer_state = directory.join("trainer_state");
        fs::create_dir_all(&trainer_state)
            .map_err(FileError::cannot("make the directory", &trainer_state))?;
        let state_file = directory.join(STATE_FILE);
        let json = serde_json::to_vec_pretty(state).map_err(|error| TrainError::TrainerState {
            path: state_file.clone(),
            problem: error.to_string(),
        })?;
        fs::write(&state_file, json).map_err(FileError::cannot("write", &state_file))?;
        save_moments(optimizer, &directory.join(OPTIMIZER_FILE))
    })?;
    update_latest(checkpoints, &name)?;
    Ok(path)
}

/// Reads what [`save`] wrote beside the weights.
pub(crate) fn load_state(checkpoint: &Path) -> Result<TrainerState, TrainError> {
    let path = checkpoint.join(STATE_FILE);
    let bytes = fs::read(&path).map_err(FileError::cannot("read", &path))?;
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
    Ok(write_tensors(path, tensors, WeightType::F32, metadata)?)
}

/// The optimizer's state in a checkpoint: the moments of the model's parameters, and the number of
/// steps.
pub(crate) fn load_moments(
    optimizer: &mut Optimizer,
    model: &Llama,
    checkpoint: &Path,
    device: &Device,
) -> Result<(), TrainError> {
    let path = checkpoint.join(OPTIMIZER_FILE);
    let unusable = |problem: CheckpointError| TrainError::Checkpoint {
        path: checkpoint.to_path_buf(),
        problem: Box::new(problem),
    };
    let mut file = TensorFiles::open(&path).map_err(unusable)?;
    let steps = file.metadata("steps").and_then(|steps| steps.parse().ok());
    optimizer.steps = steps.ok_or_else(|| TrainError::TrainerState {
        path,
        problem: "the number of steps is missing".to_string(),
    })?;
    optimizer.moments.clear();
    for parameter in model.parameters() {
        let name = parameter.name;
        // A parameter that was never updated has no moments.
        if !file.contains(&format!("first.{name}")) {
            continue;
        }
        let count = parameter.shape.iter().product();
        let mut take = |kind: &str| -> Result<Tensor<1>, CheckpointError> {
            let values = file.take(&format!("{kind}.{name}"), &[count])?;
            Ok(Tensor::from_data(TensorData::new(values, [count]), device))
        };
        let first = take("first").map_err(unusable)?;
        let second = take("second").map_err(unusable)?;
        optimizer.moments.insert(name, Moments { first, second });
    }
    file.finish().map_err(unusable)
}
