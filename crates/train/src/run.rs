//! A run as its caller sees it: what it is given, what it tells, how it ends.

use std::path::PathBuf;

use plw_batch::Examples;
use plw_eval::EvaluationOptions;
use plw_record::{EvaluationRow, MetricsRow, RunConfig, RunDirectory, TrainingSummary};
use plw_transport::Transport;
use serde::{Deserialize, Serialize};

use crate::{BatchingArguments, LossArguments, Plan, TrainingArguments};

/// A run: its settings, its data and where it leaves its records.
pub struct Run<'a> {
    /// Where it leaves its records.
    pub directory: &'a RunDirectory,
    /// Everything that decides the result, resolved.
    pub config: &'a RunConfig,
    /// Steps, schedule and optimizer.
    pub training: &'a TrainingArguments,
    /// What each token counts in the loss.
    pub loss: &'a LossArguments,
    /// Which examples a step holds, and how they are laid out.
    pub batching: &'a BatchingArguments,
    /// How to evaluate.
    pub evaluation: EvaluationOptions,
    /// What to train on.
    pub train: &'a Examples,
    /// What to evaluate on before the first step, every `eval_steps` and at the end.
    pub validation: Option<&'a Examples>,
    /// What the result is evaluated on, once.
    pub test: Option<&'a Examples>,
    /// Files that belong beside the weights: the tokenizer's.
    pub companions: &'a [PathBuf],
    /// Whether to resume a run that exists.
    pub resume: bool,
    /// The processes that share the run's work. The first of them writes its records.
    pub transport: &'a dyn Transport,
}

/// Where a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Beginning {
    /// It is new.
    New,
    /// It is resumed, but has no checkpoint yet: it starts over.
    WithoutCheckpoint,
    /// It is resumed from the checkpoint of this step.
    Checkpoint {
        /// The checkpoint's step.
        step: u64,
        /// How many steps the run was to have when the checkpoint was written.
        total_steps: u64,
    },
}

impl Beginning {
    /// The steps that were taken before.
    pub fn step(self) -> u64 {
        match self {
            Self::New | Self::WithoutCheckpoint => 0,
            Self::Checkpoint { step, .. } => step,
        }
    }
}

/// Receives a run's events and can request a stop.
pub trait Observer {
    /// The run starts or resumes.
    fn started(&mut self, _plan: &Plan<'_>, _beginning: Beginning) {}
    /// Something that is no error, but that whoever reads the results should know.
    fn warned(&mut self, _message: &str) {}
    /// A step was taken.
    fn stepped(&mut self, _row: &MetricsRow) {}
    /// `done` of an evaluation's `total` examples are done.
    fn evaluating(&mut self, _done: usize, _total: usize) {}
    /// An evaluation is done.
    fn evaluated(&mut self, _row: &EvaluationRow) {}
    /// Whether the run should stop at a complete checkpoint.
    fn should_stop(&self) -> bool {
        false
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps were taken.
    Complete(Box<TrainingSummary>),
    /// It was asked to stop, and can be resumed.
    Stopped {
        /// The last step taken; its checkpoint is complete. 0 has none: the run starts again.
        step: u64,
    },
}
