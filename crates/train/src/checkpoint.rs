//! Checkpoints: a Hugging Face or PEFT directory, plus the state from which the trainer resumes
//! with bit-identical results.

use std::fs;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use plw_files::{FileError, copy_atomic, write_directory_atomic};
use plw_kernels::Moments;
use plw_model::{CheckpointError, Llama, StoredTensor, TensorFiles, WeightType, write_tensors};
use plw_record::{RunLock, checkpoint_name, update_latest};

use crate::counted_records::count_records;
use crate::run::Run;
use crate::trainer_state::{TRAINER_STATE, TrainerState, damaged, write_state};
use crate::{Optimizer, TrainError};

const OPTIMIZER_FILE: &str = "trainer_state/optimizer.safetensors";

/// Writes `checkpoints/step-N`, complete or not at all, and makes `latest` name it. The rows that
/// it counts on are made durable first.
///
/// Weights are stored in f32, whatever they were read from, unless `save_dtype` says otherwise: a
/// smaller type would change the results of a resumed run. The companions (the files of the
/// tokenizer) are copied beside them. A process without the lock writes nothing.
pub(crate) fn save(
    run: &Run<'_>,
    lock: Option<&RunLock>,
    model: &Llama,
    optimizer: &Optimizer,
    state: &TrainerState,
) -> Result<(), TrainError> {
    let Some(lock) = lock else {
        return Ok(());
    };
    lock.check()?;
    run.directory.sync_logs()?;
    let checkpoints = run.directory.checkpoints();
    let name = checkpoint_name(state.step);
    let training = run.training;
    write_directory_atomic(
        checkpoints.join(&name),
        |directory| -> Result<(), TrainError> {
            match model.lora() {
                Some(_) => plw_model::save_adapter(model, directory)?,
                None => plw_model::save_llama(model, directory, training.save_dtype)?,
            }
            for companion in run.companions {
                if let Some(file_name) = companion.file_name() {
                    copy_atomic(companion, directory.join(file_name))?;
                }
            }
            let trainer_state = directory.join(TRAINER_STATE);
            fs::create_dir_all(&trainer_state)
                .map_err(FileError::cannot("make the directory", &trainer_state))?;
            if !training.save_only_model {
                save_moments(optimizer, &directory.join(OPTIMIZER_FILE))?;
            }
            write_state(directory, &counting(run, state)?)
        },
    )?;
    Ok(update_latest(checkpoints, &name)?)
}

/// Writes the state into the checkpoint of its step, whose weights are those that it knows. A
/// process without the lock writes nothing.
pub(crate) fn update_state(
    run: &Run<'_>,
    lock: Option<&RunLock>,
    state: &TrainerState,
) -> Result<(), TrainError> {
    let Some(lock) = lock else {
        return Ok(());
    };
    lock.check()?;
    run.directory.sync_logs()?;
    let name = checkpoint_name(state.step);
    let state = counting(run, state)?;
    write_state(&run.directory.checkpoints().join(name), &state)
}

/// The state with the records that it counts on.
fn counting(run: &Run<'_>, state: &TrainerState) -> Result<TrainerState, TrainError> {
    let last_evaluation = state.last.as_ref().map(|row| row.step);
    Ok(TrainerState {
        records: count_records(run.directory, last_evaluation)?,
        ..state.clone()
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

/// The weights of a checkpoint: all of them, or the adapter on top of the model's. They must be
/// those of a model like `model`, whose tensors have the same names and shapes.
pub(crate) fn restore(
    model: Llama,
    checkpoint: &Path,
    device: &Device,
) -> Result<Llama, TrainError> {
    let unusable = |problem: CheckpointError| unusable(checkpoint, problem);
    let (lora, tensors) = (model.lora(), model.parameters());
    let file = match lora {
        Some(_) => "adapter_model.safetensors",
        None => "model.safetensors",
    };
    let file = checkpoint.join(file);
    require_f32(&file, &TensorFiles::open(&file).map_err(unusable)?)?;
    let restored = match lora {
        Some(_) => plw_model::load_adapter(model, checkpoint).map_err(unusable)?,
        None => plw_model::load_llama(checkpoint, device).map_err(unusable)?,
    };
    let now = restored.parameters();
    let other = tensors
        .iter()
        .zip(&now)
        .find(|(expected, now)| expected != now);
    let problem = if let Some((expected, now)) = other {
        format!(
            "its tensor `{}` has shape {:?}, and the run's model has `{}` of shape {:?} there",
            now.name, now.shape, expected.name, expected.shape
        )
    } else if tensors.len() != now.len() {
        format!(
            "it has {} tensors, and the run's model {}",
            now.len(),
            tensors.len()
        )
    } else if lora != restored.lora() {
        "its adapter has other settings than the run's".to_string()
    } else {
        return Ok(restored);
    };
    Err(damaged(checkpoint, problem))
}

/// Checks that a run can resume from a checkpoint at all.
pub(crate) fn require_moments(checkpoint: &Path) -> Result<(), TrainError> {
    match checkpoint.join(OPTIMIZER_FILE).exists() {
        true => Ok(()),
        false => Err(TrainError::OnlyModel {
            path: checkpoint.to_path_buf(),
        }),
    }
}

/// A run's own weights and moments are in f32: another type would have lost digits.
fn require_f32(path: &Path, tensors: &TensorFiles) -> Result<(), TrainError> {
    match tensors.types().find(|(_, found)| found != "F32") {
        None => Ok(()),
        Some((name, found)) => {
            let problem = format!("tensor `{name}` has type {found}, and a run's are F32");
            Err(damaged(path, problem))
        }
    }
}

/// The optimizer's state in a checkpoint, after `steps` steps: the moments of every parameter that
/// is trained, in f32 and of its size, and no others.
pub(crate) fn load_moments(
    optimizer: &mut Optimizer,
    model: &Llama,
    checkpoint: &Path,
    steps: u64,
    device: &Device,
) -> Result<(), TrainError> {
    let path = checkpoint.join(OPTIMIZER_FILE);
    let unusable = |problem: CheckpointError| unusable(checkpoint, problem);
    let mut file = TensorFiles::open(&path).map_err(unusable)?;
    let counted = file.metadata("steps").unwrap_or("not said");
    if counted != steps.to_string() {
        let problem = format!("it is of step {counted}, and the checkpoint of step {steps}");
        return Err(damaged(&path, problem));
    }
    require_f32(&path, &file)?;
    optimizer.steps = steps;
    optimizer.moments.clear();
    let parameters = model.parameters();
    let trained = parameters
        .into_iter()
        .filter(|parameter| parameter.trainable);
    // Before the first step there are none.
    for parameter in trained.filter(|_| steps > 0) {
        let name = parameter.name;
        let count = parameter.shape.iter().product();
        let mut take = |kind: &str| -> Result<Tensor<1>, CheckpointError> {
            let values = file.take(&format!("{kind}.{name}"), &[count])?;
            let data = TensorData::new(values, [count]);
            let make = |data| Tensor::from_data(data, device);
            Ok(device.memory_persistent_allocations(data, make))
        };
        let first = take("first").map_err(unusable)?;
        let second = take("second").map_err(unusable)?;
        optimizer.moments.insert(name, Moments { first, second });
    }
    file.finish().map_err(unusable)
}

fn unusable(checkpoint: &Path, problem: CheckpointError) -> TrainError {
    if problem.lacks_memory() {
        return problem.into();
    }
    TrainError::Checkpoint {
        path: checkpoint.to_path_buf(),
        problem: Box::new(problem),
    }
}
