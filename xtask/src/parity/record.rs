//! What a parity run found: `results/parity.json`.

use std::collections::BTreeMap;

use plw_record::Machine;
use serde::Serialize;

use super::cases::Case;
use crate::peer::outcome::{Evaluation, Outcome, Step, relative_difference};
use crate::text_table::markdown;

/// Steps left out of the speed: the first ones allocate.
const UNTIMED_STEPS: usize = 2;

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
    pub(super) fn of(case: &Case, theirs: &Outcome, ours: &Outcome) -> Self {
        let untimed = (case.training.batch_size * UNTIMED_STEPS) as u64;
        let speed = |outcome: &Outcome| outcome.timed(&(untimed..u64::MAX)).tokens_per_second();
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
            peer_tokens_per_second: speed(theirs),
            plw_tokens_per_second: speed(ours),
        }
    }

    /// The steps as a table, under the case's name.
    pub(super) fn table(&self) -> String {
        let header = [
            "step",
            "loss: peer",
            "plw",
            "differ",
            "norm: peer",
            "plw",
            "differ",
        ];
        let percent = |difference: f64| format!("{:.4} %", 100.0 * difference);
        let cells = |pair: &StepPair| {
            vec![
                pair.peer.step.to_string(),
                format!("{:.6}", pair.peer.loss),
                format!("{:.6}", pair.plw.loss),
                percent(pair.loss_difference),
                format!("{:.4}", pair.peer.grad_norm),
                format!("{:.4}", pair.plw.grad_norm),
                percent(pair.grad_norm_difference),
            ]
        };
        let rows: Vec<_> = self.steps.iter().map(cells).collect();
        let mut text = format!("{}\n\n{}", self.case.name, markdown(&header, 0, &rows));
        if let (Some(peer), Some(plw)) = (self.peer_tokens_per_second, self.plw_tokens_per_second) {
            let ratio = plw / peer;
            text += &format!("\ntokens/s: peer {peer:.0}, plw {plw:.0} ({ratio:.2} times)\n");
        }
        text
    }
}

/// An evaluation by both programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct EvaluationParity {
    questions: u64,
    peer_accuracy: f64,
    plw_accuracy: f64,
    peer_questions_per_second: f64,
    plw_questions_per_second: f64,
}

impl EvaluationParity {
    pub(super) fn of(theirs: &Evaluation, ours: &Evaluation) -> Self {
        Self {
            questions: ours.questions,
            peer_accuracy: theirs.accuracy,
            plw_accuracy: ours.accuracy,
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
        let cells = |check: &Check| {
            let bar = match (check.at_most, check.at_least) {
                (Some(bar), _) => format!("at most {bar}"),
                (_, Some(bar)) => format!("at least {bar}"),
                _ => String::new(),
            };
            let verdict = if check.passed { "pass" } else { "MISS" };
            let value = format!("{:.6}", check.value);
            vec![verdict.to_string(), check.name.clone(), value, bar]
        };
        let rows: Vec<_> = self.checks.iter().map(cells).collect();
        let mut text = markdown(&["", "check", "value", "bar"], 2, &rows);
        if let Some(evaluation) = &self.evaluation {
            text += &format!(
                "\nquestions/s: peer {:.2}, plw {:.2}\n",
                evaluation.peer_questions_per_second, evaluation.plw_questions_per_second
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::outcome::cases::trained;

    #[test]
    fn bars_are_inclusive_and_no_number_misses() {
        assert!(Check::at_most("a".into(), 0.002, 0.002).passed);
        assert!(!Check::at_most("a".into(), f64::NAN, 0.002).passed);
        assert!(Check::at_least("a".into(), 0.99, 0.99).passed);
        assert!(!Check::yes_or_no("a".into(), false).passed);
    }

    #[test]
    fn the_first_steps_are_not_timed() {
        let case = crate::parity::cases::all(4)[0];
        let mut ours = trained(4, 100, 50.0, &[1.0; 4]);
        (ours.steps[2].seconds, ours.steps[3].seconds) = (1.0, 3.0);
        let parity = TrainingParity::of(&case, &ours, &ours);
        assert_eq!(parity.plw_tokens_per_second, Some(50.0));
        ours.steps.truncate(2);
        let parity = TrainingParity::of(&case, &ours, &ours);
        assert_eq!(parity.plw_tokens_per_second, None);
    }
}
