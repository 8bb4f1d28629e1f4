//! One training run: steps, schedule, optimizer, metrics, checkpoints, resume.
//!
//! Knows models, losses, examples and a run's directory; knows no tokenizer, no prompt, no command
//! line.
#![doc = include_str!("../README.md")]

mod arguments;
mod batching;
mod checkpoint;
mod counted_records;
mod division;
mod error;
mod finish;
mod forecast;
mod gpu_memory;
mod gradient_sum;
mod length;
mod memory;
mod optimizer;
mod pages;
mod plan;
mod run;
mod schedule;
mod start;
mod start_together;
mod step;
mod step_sums;
mod train;
mod trainer_state;
mod units;
mod validation;

pub use arguments::{LossArguments, TrainingArguments};
pub use batching::{BatchingArguments, Packing, ShuffleUnit};
pub use counted_records::CountedRecord;
pub use error::TrainError;
pub use forecast::{Forecast, RunSettings, forecast};
pub use gpu_memory::GpuMemoryEstimate;
pub use memory::{MemoryEstimate, ModelSize, Workload};
pub use optimizer::{FiniteCheck, Optimizer, global_norm};
pub use plan::{Plan, PlannedStep, plan};
pub use plw_files::Verified;
pub use run::{Beginning, Observer, Outcome, Run};
pub use schedule::{LrSchedulerType, Schedule};
pub use start::check_directory;
pub use step::{
    LossAndGradients, PassOptions, QueuedStep, StepOptions, StepResult, loss_and_gradients,
    queue_step, step,
};
pub use step_sums::StepCounts;
pub use train::train;
pub use trainer_state::{TrainerState, check_saved_model, read_state};
