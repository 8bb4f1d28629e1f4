//! What can stop a run.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::path::PathBuf;

use plw_files::FileError;
use plw_loss::WeightError;
use plw_record::RecordError;

/// What can stop a run.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting makes no sense.
    #[error("{name} is {value}: it must be {expected}")]
    Setting {
        /// Its name, in TOML and as a flag.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// There is nothing to train on.
    #[error(
        "no training example is left ({dropped} longer than max_length {max_length}): \
         raise max_length or check the data"
    )]
    NoExamples {
        /// Examples dropped for their length.
        dropped: u64,
        /// The limit.
        max_length: usize,
    },
    /// The settings leave no step to take.
    #[error("the run has no step: raise max_steps or num_train_epochs")]
    NoSteps,
    /// The run's tokens or its memory cannot be counted.
    #[error(
        "the run has more tokens, or needs more bytes, than 64 bits can count: \
         lower max_steps, max_length, the batch size or the sizes in config.json"
    )]
    TooLarge,
    /// The run's directory holds another run.
    #[error(
        "{path} holds a run already: add --resume to continue it, or choose another --output-dir"
    )]
    RunExists {
        /// The run's directory.
        path: PathBuf,
    },
    /// The run's directory holds records, and no config.toml that says which run's.
    #[error(
        "{path} holds {record} and no config.toml that says which run it is of: \
         choose another --output-dir, or put config.toml back"
    )]
    NotARun {
        /// The run's directory.
        path: PathBuf,
        /// The first of the records, relative to the directory.
        record: String,
    },
    /// The checkpoint in the run's directory is of another run.
    #[error(
        "{path} is of another run, whose settings were not those in config.toml: \
         choose another --output-dir, or put the run's own checkpoint there"
    )]
    OtherCheckpoint {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The run cannot have another number of steps than it had before.
    #[error("the run in {path} cannot have {steps} steps: {reason}")]
    Length {
        /// The run's directory.
        path: PathBuf,
        /// The steps that the settings ask for now.
        steps: u64,
        /// Why not, and what to do.
        reason: String,
    },
    /// A checkpoint without the optimizer's state.
    #[error(
        "{path} holds the model without the optimizer's state (save_only_model), so no run can \
         resume from it: train again with another --output-dir"
    )]
    OnlyModel {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The run's directory holds a run with other settings, or of other files.
    #[error(
        "{path} holds another run: {difference}. \
         Resume with the same settings and files, or choose another --output-dir"
    )]
    OtherRun {
        /// The run's directory.
        path: PathBuf,
        /// The first setting that differs, or that names other files.
        difference: String,
    },
    /// The loss is infinite or not a number.
    #[error(
        "the {what} is {value} at step {step}: checkpoints of earlier steps stay as they are; \
         lower the learning rate, or look at these examples: {examples}"
    )]
    NotFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// What it is.
        value: f64,
        /// The optimizer step.
        step: u64,
        /// The batch's examples.
        examples: String,
    },
    /// An update left weights or moments that are infinite or not a number.
    #[error(
        "after step {step} the weights of `{tensor}`, or AdamW's moments of them, are not finite: \
         checkpoints of earlier steps stay as they are; \
         lower the learning rate, or look at these examples: {examples}"
    )]
    WeightsNotFinite {
        /// The first such parameter.
        tensor: String,
        /// The optimizer step.
        step: u64,
        /// The batch's examples.
        examples: String,
    },
    /// A file of a checkpoint cannot be used.
    #[error("{path}: {problem}; remove the checkpoint to resume from the one before it")]
    TrainerState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: io::Error,
    },
    /// A checkpoint that is used as a model is not as it was written.
    #[error(
        "{path}: {problem}; it is of a checkpoint, whose trainer_state has the digest of each \
         file: use another checkpoint, or remove its trainer_state to use the files as they are"
    )]
    SavedModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A checkpoint's weights cannot be used.
    #[error(
        "{path}: the checkpoint cannot be used ({problem}); \
         remove it to resume from the one before it"
    )]
    Checkpoint {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<plw_model::CheckpointError>,
    },
    /// The weights cannot be used.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// A step has nothing to learn from.
    #[error("step {step}: {cause}: {examples}")]
    NothingCounts {
        /// The optimizer step.
        step: u64,
        /// Why.
        cause: WeightError,
        /// The step's examples.
        examples: String,
    },
    /// The model cannot be evaluated.
    #[error(transparent)]
    Evaluation(#[from] plw_eval::EvaluationError),
    /// The checkpoint of the best step is gone or damaged.
    #[error(
        "{path}: the best checkpoint cannot be used ({problem}), and the test questions are \
         evaluated with it; put it back, or train again with another --output-dir"
    )]
    BestCheckpoint {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<TrainError>,
    },
    /// A process has other settings or files than the first one.
    #[error(
        "process {rank} has other settings or other files than process 0: \
         start all with the same arguments, from a folder that they share"
    )]
    OtherProcess {
        /// The process.
        rank: usize,
    },
    /// A process does not find the checkpoint that the first one resumes from.
    #[error(
        "process {rank} does not have {path} as process 0 has it: the folder of the run must be \
         one that all processes share"
    )]
    OtherFolder {
        /// The process.
        rank: usize,
        /// The checkpoint.
        path: PathBuf,
    },
    /// The processes cannot exchange anything.
    #[error(transparent)]
    Transport(#[from] plw_transport::TransportError),
    /// A file cannot be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record cannot be written or read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A model cannot be written or read.
    #[error(transparent)]
    Model(#[from] plw_model::CheckpointError),
}

impl TrainError {
    /// Whether the run's checkpoint is not as it was written, so that another try ends the same;
    /// not if the system failed to read a file that is there.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::TrainerState { problem, .. } => is_of_content(problem),
            Self::Checkpoint { problem, .. } => {
                let problem: &(dyn Error + 'static) = &**problem;
                let mut causes = successors(Some(problem), |&error| error.source());
                causes.all(|error| error.downcast_ref().is_none_or(is_of_content))
            }
            Self::BestCheckpoint { problem, .. } => problem.is_damage(),
            Self::OtherCheckpoint { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn setting(
        name: &'static str,
        value: impl std::fmt::Debug,
        expected: &'static str,
    ) -> Self {
        Self::Setting {
            name,
            value: format!("{value:?}"),
            expected,
        }
    }
}

/// Whether a file was read that is not as it should be, or is missing.
fn is_of_content(error: &io::Error) -> bool {
    error.raw_os_error().is_none() || error.kind() == io::ErrorKind::NotFound
}

#[cfg(test)]
mod tests {
    use plw_model::CheckpointError;

    use super::*;

    #[test]
    fn a_file_that_the_system_did_not_read_is_no_damage() {
        let path = PathBuf::from("step-4");
        let of_state = |problem: io::Error| TrainError::TrainerState {
            path: path.clone(),
            problem,
        };
        let of_weights = |problem: io::Error| TrainError::Checkpoint {
            path: path.clone(),
            problem: Box::new(CheckpointError::File(FileError::cannot("read", &path)(
                problem,
            ))),
        };
        let of_best = |problem: io::Error| TrainError::BestCheckpoint {
            path: path.clone(),
            problem: Box::new(of_state(problem)),
        };
        for (problem, is_damage) in [
            (
                (|| io::Error::from_raw_os_error(5)) as fn() -> io::Error,
                false,
            ),
            (|| io::Error::from_raw_os_error(2), true),
            (|| io::Error::other("its digest is another"), true),
        ] {
            for error in [
                of_state(problem()),
                of_weights(problem()),
                of_best(problem()),
            ] {
                assert_eq!(error.is_damage(), is_damage, "{error}");
            }
        }
        assert!(!TrainError::NoSteps.is_damage());
    }
}
