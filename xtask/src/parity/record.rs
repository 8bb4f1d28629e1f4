//! What a parity run found: `results/parity.json`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plw_record::Machine;
use serde::{Deserialize, Serialize};

use super::cases::Case;
use super::comparison::relative_difference;

/// Steps left out of the speed: the first ones allocate.
const UNTIMED_STEPS: usize = 2;

/// An optimizer step. Losses are in nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) step: u64,
    pub(super) loss: f64,
    pub(super) prompt_loss: Option<f64>,
    pub(super) completion_loss: Option<f64>,
    pub(super) grad_norm: f64,
    #[serde(alias = "lr")]
    pub(super) learning_rate: f64,
    pub(super) tokens: u64,
    pub(super) seconds: f64,
}

/// A training run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Training {
    pub(super) steps: Vec<Step>,
}

impl Training {
    fn tokens_per_second(&self) -> Option<f64> {
        let timed = self.steps.get(UNTIMED_STEPS..)?;
        let tokens: u64 = timed.iter().map(|step| step.tokens).sum();
        let seconds: f64 = timed.iter().map(|step| step.seconds).sum();
        (seconds > 0.0).then(|| tokens as f64 / seconds)
    }
}

/// What a program made of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) example_id: String,
    pub(super) answer: String,
    pub(super) choice: String,
    pub(super) logits: Vec<f64>,
    pub(super) argmax_is_answer: bool,
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Evaluation {
    pub(super) answers: Vec<Answer>,
    pub(super) questions_per_second: f64,
}

impl Evaluation {
    fn accuracy(&self) -> f64 {
        let right = self
            .answers
            .iter()
            .filter(|answer| answer.choice == answer.answer)
            .count();
        right as f64 / self.answers.len().max(1) as f64
    }
}

/// A bar, and whether it was cleared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) passed: bool,
    /// The figure, at its worst.
    pub(super) value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_least: Option<f64>,
}

impl Check {
    pub(super) fn at_most(name: String, value: f64, bar: f64) -> Self {
        Self {
            name,
            passed: value <= bar,
            value,
            at_most: Some(bar),
            at_least: None,
        }
    }

    pub(super) fn at_least(name: String, value: f64, bar: f64) -> Self {
        Self {
            name,
            passed: value >= bar,
            value,
            at_most: None,
            at_least: Some(bar),
        }
    }

    pub(super) fn yes_or_no(name: String, holds: bool) -> Self {
        Self::at_least(name, f64::from(u8::from(holds)), 1.0)
    }
}

/// A step by both programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct StepPair {
    peer: Step,
    plw: Step,
    loss_difference: f64,
    grad_norm_difference: f64,
}

/// A training run by both programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TrainingParity {
    #[serde(flatten)]
    case: Case,
    steps: Vec<StepPair>,
    /// Of the steps after the second.
    peer_tokens_per_second: Option<f64>,
    plw_tokens_per_second: Option<f64>,
}

impl TrainingParity {
    pub(super) fn of(case: &Case, theirs: &Training, ours: &Training) -> Self {
        let pairs = theirs.steps.iter().zip(&ours.steps);
        Self {
            case: *case,
            steps: pairs
                .map(|(peer, plw)| StepPair {
                    loss_difference: relative_difference(plw.loss, peer.loss),
                    grad_norm_difference: relative_difference(plw.grad_norm, peer.grad_norm),
                    peer: peer.clone(),
                    plw: plw.clone(),
                })
                .collect(),
            peer_tokens_per_second: theirs.tokens_per_second(),
            plw_tokens_per_second: ours.tokens_per_second(),
        }
    }

    /// The steps as a table of text.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{}\nstep  loss: peer      plw    differ   norm: peer      plw    differ\n",
            self.case.name
        );
        for pair in &self.steps {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:4}  {:10.6} {:8.6}  {:.4} %  {:10.4} {:8.4}  {:.4} %",
                pair.peer.step,
                pair.peer.loss,
                pair.plw.loss,
                100.0 * pair.loss_difference,
                pair.peer.grad_norm,
                pair.plw.grad_norm,
                100.0 * pair.grad_norm_difference
            );
        }
        if let (Some(peer), Some(plw)) = (self.peer_tokens_per_second, self.plw_tokens_per_second) {
            let _ = writeln!(
                text,
                "tokens/s: peer {peer:.0}, plw {plw:.0} ({:.2} times)",
                plw / peer
            );
        }
        text
    }
}

/// An evaluation by both programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct EvaluationParity {
    questions: usize,
    peer_accuracy: f64,
    plw_accuracy: f64,
    peer_questions_per_second: f64,
    plw_questions_per_second: f64,
}

impl EvaluationParity {
    pub(super) fn of(theirs: &Evaluation, ours: &Evaluation) -> Self {
        Self {
            questions: ours.answers.len(),
            peer_accuracy: theirs.accuracy(),
            plw_accuracy: ours.accuracy(),
            peer_questions_per_second: theirs.questions_per_second,
            plw_questions_per_second: ours.questions_per_second,
        }
    }
}

/// `results/parity.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Parity {
    pub(super) passed: bool,
    pub(super) checks: Vec<Check>,
    pub(super) training: Vec<TrainingParity>,
    pub(super) evaluation: Option<EvaluationParity>,
    pub(super) commit: String,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) machine: Machine,
    /// The name of the model's directory.
    pub(super) model: String,
    /// Steps asked for in each training run.
    pub(super) steps: usize,
    /// Questions asked for.
    pub(super) questions: usize,
}

impl Parity {
    /// Every check on a line.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let bar = match (check.at_most, check.at_least) {
                (Some(bar), _) => format!("at most {bar}"),
                (_, Some(bar)) => format!("at least {bar}"),
                _ => String::new(),
            };
            let verdict = if check.passed { "pass" } else { "MISS" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{verdict}  {:48} {:<12.6} {bar}",
                check.name, check.value
            );
        }
        if let Some(evaluation) = &self.evaluation {
            let _ = writeln!(
                text,
                "questions/s: peer {:.2}, plw {:.2}",
                evaluation.peer_questions_per_second, evaluation.plw_questions_per_second
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_inclusive_and_no_number_misses() {
        assert!(Check::at_most("a".into(), 0.002, 0.002).passed);
        assert!(!Check::at_most("a".into(), f64::NAN, 0.002).passed);
        assert!(Check::at_least("a".into(), 0.99, 0.99).passed);
        assert!(!Check::yes_or_no("a".into(), false).passed);
    }

    #[test]
    fn the_first_steps_are_not_timed() {
        let step = |seconds| Step {
            step: 1,
            loss: 1.0,
            prompt_loss: None,
            completion_loss: None,
            grad_norm: 1.0,
            learning_rate: 1e-4,
            tokens: 100,
            seconds,
        };
        let training = |seconds: &[f64]| Training {
            steps: seconds.iter().map(|&seconds| step(seconds)).collect(),
        };
        assert_eq!(
            training(&[50.0, 60.0, 1.0, 3.0]).tokens_per_second(),
            Some(50.0)
        );
        assert_eq!(training(&[50.0, 60.0]).tokens_per_second(), None);
    }
}
