//! One training run: steps, schedule, optimizer, metrics, checkpoints, resume.
//!
//! Knows models, losses, examples and a run's directory; knows no tokenizer, no prompt, no command line.
#![doc = include_str!("../README.md")]

mod arguments;
mod checkpoint;
mod error;
mod memory;
mod optimizer;
mod plan;
mod run;
mod schedule;
mod start;
mod step;

pub use arguments::{BatchingArguments, LossArguments, Packing, ShuffleUnit, TrainingArguments};
pub use checkpoint::TrainerState;
pub use error::TrainError;
pub use memory::MemoryPlan;
pub use optimizer::{Optimizer, global_norm};
pub use plan::{Plan, Row, plan};
pub use run::{Observer, Outcome, Run, train};
pub use schedule::{LrSchedulerType, learning_rate};
pub use step::{StepResult, loss_and_gradients, micro_batches, step};
