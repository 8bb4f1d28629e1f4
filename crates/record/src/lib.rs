//! What a run leaves on disk: configuration, metrics, evaluations, predictions, summary, and the
//! names of its checkpoints.
//!
//! Knows paths, rows and metrics; never a tensor, a token or a model, so that a report needs no
//! tensor library. The two logs grow line by line and are cut back to the checkpoint's step on
//! resume. Every other file is written with `plw_files`, so its name always means a complete file.
#![doc = include_str!("../README.md")]

mod checkpoints;
mod config;
mod digested;
mod directory;
mod error;
mod lines;
mod lock;
mod logs;
mod machine;
mod prediction_columns;
mod prediction_row;
mod predictions;
mod proportion;
mod summary;

pub use checkpoints::{
    checkpoint_name, checkpoints, latest_checkpoint, remove_old_checkpoints, step_of, update_latest,
};
pub use config::{DIGESTS, KEEPING, RunConfig};
pub use directory::RunDirectory;
pub use error::RecordError;
pub use lock::{DirectoryLock, RunLock};
pub use logs::{
    MetricsRow, append_evaluation, append_metrics, check_metrics, read_evaluations, read_metrics,
    resume_evaluations, resume_metrics,
};
pub use machine::{Machine, peak_memory_bytes};
pub use prediction_row::PredictionRow;
pub use predictions::{read_predictions, write_predictions};
pub use proportion::{Proportion, Z_95};
pub use summary::{
    Accuracy, EvaluationRecord, EvaluationRow, EvaluationSummary, TrainingSummary,
    accuracy_by_level,
};
