//! What a program says it did, whichever program it was.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// An optimizer step. Losses are in nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) step: u64,
    pub(crate) loss: f64,
    /// plw computes none where the prompt's weight is 0.
    pub(crate) prompt_loss: Option<f64>,
    pub(crate) completion_loss: Option<f64>,
    pub(crate) grad_norm: f64,
    #[serde(alias = "lr")]
    pub(crate) learning_rate: f64,
    /// Tokens of the sequences, each counting its own.
    pub(crate) tokens: u64,
    pub(crate) questions: u64,
    pub(crate) seconds: f64,
}

/// What a program made of a question.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Answer {
    pub(crate) example_id: String,
    pub(crate) answer: String,
    pub(crate) choice: String,
    pub(crate) logits: Vec<f64>,
    pub(crate) argmax_is_answer: bool,
}

/// What an evaluation came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evaluation {
    pub(crate) questions: u64,
    pub(crate) accuracy: f64,
    pub(crate) questions_per_second: f64,
    pub(crate) tokens_per_second: f64,
    /// Kept by no record: they are many.
    #[serde(skip)]
    pub(crate) answers: Vec<Answer>,
}

/// The steps of a training run, or the result of an evaluation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The most memory that the process held, where it says.
    pub(crate) peak_memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) evaluation: Option<Evaluation>,
}

/// What some steps of a run come to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Timed {
    pub(crate) tokens: u64,
    pub(crate) questions: u64,
    pub(crate) seconds: f64,
}

impl Timed {
    /// None where nothing was timed.
    pub(crate) fn tokens_per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.tokens as f64 / self.seconds)
    }

    /// None where nothing was timed.
    pub(crate) fn questions_per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.questions as f64 / self.seconds)
    }
}

impl Outcome {
    /// The steps that hold rows of this range and no others.
    pub(crate) fn timed(&self, rows: &Range<u64>) -> Timed {
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

/// |ours - theirs| / |theirs|; infinite where one is not finite.
pub(crate) fn relative_difference(ours: f64, theirs: f64) -> f64 {
    let difference = (ours - theirs).abs() / theirs.abs();
    match (ours == theirs, difference.is_nan()) {
        (true, _) => 0.0,
        (false, true) => f64::INFINITY,
        (false, false) => difference,
    }
}

/// Outcomes for tests.
#[cfg(test)]
pub(crate) mod cases {
    use super::*;

    /// A step for each loss: so many questions, tokens and seconds.
    pub(crate) fn trained(questions: u64, tokens: u64, seconds: f64, losses: &[f64]) -> Outcome {
        let step = |(step, &loss): (u64, &f64)| Step {
            step,
            loss,
            prompt_loss: None,
            completion_loss: Some(loss),
            grad_norm: 1.0,
            learning_rate: 2e-4,
            tokens,
            questions,
            seconds,
        };
        Outcome {
            steps: (1..).zip(losses).map(step).collect(),
            ..Outcome::default()
        }
    }

    /// An evaluation without its answers.
    pub(crate) fn evaluated(questions: u64, accuracy: f64, questions_per_second: f64) -> Outcome {
        let evaluation = Evaluation {
            questions,
            accuracy,
            questions_per_second,
            tokens_per_second: 1.0,
            answers: Vec::new(),
        };
        Outcome {
            evaluation: Some(evaluation),
            ..Outcome::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_timed_by_the_rows_that_they_hold() {
        let mut trained = cases::trained(4, 400, 1.0, &[1.0; 4]);
        trained.steps[2].seconds = 2.0;
        let expected = Timed {
            tokens: 800,
            questions: 8,
            seconds: 3.0,
        };
        assert_eq!(trained.timed(&(4..12)), expected);
        assert_eq!(trained.timed(&(3..13)), expected);
        assert_eq!(trained.timed(&(0..0)), Timed::default());
        assert_eq!(Timed::default().tokens_per_second(), None);
    }

    #[test]
    fn relative_differences() {
        assert_eq!(relative_difference(0.0, 0.0), 0.0);
        assert_eq!(relative_difference(1.0, 0.0), f64::INFINITY);
        assert_eq!(relative_difference(f64::NAN, 1.0), f64::INFINITY);
        assert!((relative_difference(0.99, -1.0) - 1.99).abs() < 1e-12);
    }
}
