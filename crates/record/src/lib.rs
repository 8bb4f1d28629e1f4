//! What a run leaves on disk: configuration, metrics, evaluations, predictions, checkpoints' names, summary.
//!
//! Knows paths, rows and numbers; never a tensor, a token or a model. Every file but the two logs of lines is written
//! under a temporary name, synced and renamed, so that a final name always names a complete file; the logs are cut
//! back to a checkpoint's step on resume.
#![doc = include_str!("../README.md")]

mod atomic;
mod checkpoints;
mod config;
mod digest;
mod directory;
mod error;
mod machine;
mod predictions;
mod proportion;
mod rows;
mod summary;

pub use atomic::{
    remove_partial, write_atomic, write_atomic_with, write_directory_atomic, write_json_atomic,
};
pub use checkpoints::{
    checkpoint_name, checkpoints, latest_checkpoint, remove_old_checkpoints, update_latest,
};
pub use config::RunConfig;
pub use digest::digest_file;
pub use directory::{RunDirectory, RunLock};
pub use error::RecordError;
pub use machine::{Machine, peak_memory_bytes};
pub use predictions::{PredictionRow, read_predictions, write_predictions};
pub use proportion::{Proportion, Z_95};
pub use rows::{
    EvaluationRow, MetricsRow, append_evaluation, append_metrics, read_evaluations, read_metrics,
    truncate_evaluations_after, truncate_metrics_after,
};
pub use summary::{
    Accuracy, EvaluationRecord, EvaluationSummary, TrainingSummary, accuracy_by_level,
};
