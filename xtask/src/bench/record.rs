//! What a benchmark found: `results/bench.json`.

use std::collections::BTreeMap;
use std::ops::Range;

use plw_record::Machine;
use serde::{Deserialize, Serialize};

use super::cases::{Case, Program};
use super::figures::Figure;

/// `results/bench.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Bench {
    pub(super) commit: String,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) machine: Machine,
    /// The name of the directory of the model that learns RACE.
    pub(super) model: Option<String>,
    pub(super) rounds: usize,
    /// As little was done as shows that everything runs: the figures mean nothing.
    pub(super) smoke: bool,
    /// What was asked for and could not be measured, and why.
    pub(super) left_out: Vec<String>,
    pub(super) gemm_peak: GemmPeak,
    /// Of the timed rows of `full-batch-4`.
    pub(super) useful_operations: Option<UsefulOperations>,
    pub(super) figures: Vec<Figure>,
    pub(super) kernels: Vec<KernelFigure>,
    pub(super) agreements: Vec<Agreement>,
    /// Every run of every round.
    pub(super) measurements: Vec<Measurement>,
}

/// Speed of one large matrix product in f32 on all threads, before and after the rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct GemmPeak {
    pub(super) before: GemmSpeed,
    pub(super) after: GemmSpeed,
}

impl GemmPeak {
    /// The machine can do what it did once.
    pub(super) fn gflops(&self) -> f64 {
        self.before.gflops.max(self.after.gflops)
    }
}

/// What the example `gemm_peak` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct GemmSpeed {
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) threads: usize,
    pub(super) repetitions: usize,
    /// The best repetition's.
    pub(super) seconds: f64,
    /// The best repetition's, in 10^9 operations a second.
    pub(super) gflops: f64,
}

/// Operations that the timed rows of full fine-tuning need, counted from the model's sizes and the sequences' lengths.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct UsefulOperations {
    pub(super) sequences: usize,
    pub(super) tokens: u64,
    pub(super) operations: f64,
}

/// A kernel in one pass direction, against its plain form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct KernelFigure {
    pub(super) kernel: String,
    pub(super) pass: String,
    /// Criterion's median.
    pub(super) fused_seconds: f64,
    /// Criterion's median of the plain Burn operations.
    pub(super) plain_seconds: f64,
    /// How many times as long the plain form takes.
    pub(super) ratio: f64,
}

/// How far two programs' losses are from each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Agreement {
    pub(super) round: usize,
    pub(super) case: Case,
    /// Relative difference of the first step's loss.
    pub(super) first_step: f64,
    /// The largest over all steps, where both take the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worst_step: Option<f64>,
}

/// A run of a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Measurement {
    pub(super) round: usize,
    pub(super) case: Case,
    pub(super) program: Program,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// What a run was.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Training(TrainingOutcome),
    Evaluation(EvaluationOutcome),
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TrainingOutcome {
    /// The process's resident maximum.
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) steps: Vec<Step>,
}

/// An optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Step {
    pub(super) step: u64,
    pub(super) loss: f64,
    /// Tokens of the sequences, each counting its own.
    pub(super) tokens: u64,
    pub(super) questions: u64,
    pub(super) seconds: f64,
}

/// An evaluation; of the peer's, the last line that it prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EvaluationOutcome {
    pub(super) questions: u64,
    pub(super) accuracy: f64,
    pub(super) questions_per_second: f64,
    pub(super) tokens_per_second: f64,
}

/// What the timed steps of a run come to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Timed {
    pub(super) tokens: u64,
    pub(super) questions: u64,
    pub(super) seconds: f64,
}

impl TrainingOutcome {
    /// The steps that hold rows of this range and no others.
    pub(super) fn timed(&self, rows: &Range<u64>) -> Timed {
        let mut timed = Timed::default();
        let mut first_row = 0;
        for step in &self.steps {
            let end = first_row + step.questions;
            if rows.start <= first_row && end <= rows.end {
                timed.tokens += step.tokens;
                timed.questions += step.questions;
                timed.seconds += step.seconds;
            }
            first_row = end;
        }
        timed
    }
}

impl Outcome {
    pub(super) fn training(&self) -> Option<&TrainingOutcome> {
        match self {
            Self::Training(training) => Some(training),
            Self::Evaluation(_) => None,
        }
    }

    pub(super) fn evaluation(&self) -> Option<&EvaluationOutcome> {
        match self {
            Self::Evaluation(evaluation) => Some(evaluation),
            Self::Training(_) => None,
        }
    }
}

/// A program's run in a round.
pub(super) fn find(
    measurements: &[Measurement],
    round: usize,
    case: Case,
    program: Program,
) -> Option<&Outcome> {
    let is_it =
        |found: &&Measurement| (found.round, found.case, found.program) == (round, case, program);
    Some(&measurements.iter().find(is_it)?.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_timed_by_the_rows_that_they_hold() {
        let step = |step, questions, seconds| Step {
            step,
            loss: 1.0,
            tokens: 100 * questions,
            questions,
            seconds,
        };
        let training = TrainingOutcome {
            peak_memory_bytes: None,
            steps: vec![
                step(1, 4, 9.0),
                step(2, 4, 1.0),
                step(3, 4, 2.0),
                step(4, 4, 5.0),
            ],
        };
        let expected = Timed {
            tokens: 800,
            questions: 8,
            seconds: 3.0,
        };
        assert_eq!(training.timed(&(4..12)), expected);
        assert_eq!(training.timed(&(3..13)), expected);
        assert_eq!(training.timed(&(0..0)), Timed::default());
    }

    #[test]
    fn a_measurement_is_one_flat_object() {
        let measurement = Measurement {
            round: 2,
            case: Case::LoraTenth,
            program: Program::Peer,
            outcome: Outcome::Training(TrainingOutcome {
                peak_memory_bytes: Some(7),
                steps: Vec::new(),
            }),
        };
        let json = serde_json::to_string(&measurement).expect("plain data");
        assert_eq!(
            json,
            r#"{"round":2,"case":"lora-0.1","program":"peer","peak_memory_bytes":7,"steps":[]}"#
        );
    }
}
