//! What runs are judged by: accuracy where they were asked questions, else completion loss.

use plw_record::{EvaluationSummary, PredictionRow};
use serde::Serialize;

use crate::format::{nats, nats_difference, percent, points};
use crate::statistics::Cluster;

/// What the runs of a section are judged and compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of questions whose answer is chosen. Higher is better.
    #[default]
    Accuracy,
    /// The mean loss of a completion token, in nats: the sum of losses over the examples divided by
    /// the number of their completion tokens. Lower is better.
    CompletionLoss,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 2] = [Self::Accuracy, Self::CompletionLoss];

    /// The metric of these predictions: accuracy if one of them is a question's.
    pub fn of(predictions: &[PredictionRow]) -> Self {
        match predictions.iter().any(PredictionRow::is_question) {
            true => Self::Accuracy,
            false => Self::CompletionLoss,
        }
    }

    /// For serde: earlier reports know no other metric, and do not name it.
    pub(crate) fn is_accuracy(&self) -> bool {
        *self == Self::Accuracy
    }

    /// Its name within a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::CompletionLoss => "completion loss",
        }
    }

    /// Its name with the unit of its values, for an axis.
    pub(crate) fn name_with_unit(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy in %",
            Self::CompletionLoss => "completion loss in nats",
        }
    }

    /// Whether one value is better than another.
    pub fn is_better(self, value: f64, than: f64) -> bool {
        match self {
            Self::Accuracy => value > than,
            Self::CompletionLoss => value < than,
        }
    }

    /// What the best value of all is called.
    pub(crate) fn superlative(self) -> &'static str {
        match self {
            Self::Accuracy => "highest",
            Self::CompletionLoss => "lowest",
        }
    }

    /// What it is measured on.
    pub(crate) fn items(self) -> &'static str {
        match self {
            Self::Accuracy => "questions",
            Self::CompletionLoss => "examples",
        }
    }

    /// What an example adds to the numerator and the denominator: right answers and questions, or
    /// losses and completion tokens. None if the metric does not count it.
    pub(crate) fn part(self, prediction: &PredictionRow) -> Option<Cluster> {
        match self {
            Self::Accuracy => prediction.is_question().then(|| Cluster {
                sum: f64::from(u8::from(prediction.is_correct())),
                count: 1.0,
            }),
            Self::CompletionLoss => {
                let tokens = prediction.completion_tokens.filter(|&tokens| tokens > 0)? as f64;
                Some(Cluster {
                    sum: f64::from(prediction.completion_loss?) * tokens,
                    count: tokens,
                })
            }
        }
    }

    /// Its value over all examples of an evaluation, as the evaluation computed it.
    pub(crate) fn of_summary(self, summary: &EvaluationSummary) -> Option<f64> {
        match self {
            Self::Accuracy => Some(summary.accuracy.accuracy),
            Self::CompletionLoss => summary.completion_loss,
        }
    }

    /// A value without its unit: `62.1` or `1.2345`.
    pub(crate) fn value(self, value: f64) -> String {
        match self {
            Self::Accuracy => percent(value),
            Self::CompletionLoss => nats(value),
        }
    }

    /// The unit of a value within a sentence.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Accuracy => "%",
            Self::CompletionLoss => "nats a token",
        }
    }

    /// A difference without its unit and with its sign: `+4.2` or `-0.0123`.
    pub(crate) fn difference(self, difference: f64) -> String {
        match self {
            Self::Accuracy => points(difference),
            Self::CompletionLoss => nats_difference(difference),
        }
    }

    /// The unit of a difference.
    pub(crate) fn difference_unit(self) -> &'static str {
        match self {
            Self::Accuracy => "points",
            Self::CompletionLoss => "nats",
        }
    }

    /// How the title of a section's first table begins.
    pub(crate) fn results_title(self) -> &'static str {
        match self {
            Self::Accuracy => "Accuracy in % on ",
            Self::CompletionLoss => "Completion loss in nats a token on ",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_batch::ExampleKey;

    fn prediction(choice: Option<char>, loss: Option<f32>, tokens: Option<u64>) -> PredictionRow {
        PredictionRow {
            key: ExampleKey {
                file: "a".into(),
                row: 0,
                example_id: "1".to_string(),
                level: "all".into(),
                answer: choice.map(|_| 'A'),
            },
            choice,
            logits: Vec::new(),
            argmax_is_answer: false,
            prompt_loss: None,
            completion_loss: loss,
            answer_loss: None,
            completion_tokens: tokens,
        }
    }

    #[test]
    fn each_metric_counts_its_own_examples() {
        let parts = |row: PredictionRow| Metric::ALL.map(|metric| metric.part(&row));
        let part = |sum, count| Some(Cluster { sum, count });
        let cases = [
            (
                Some('A'),
                Some(0.5),
                Some(3),
                [part(1.0, 1.0), part(1.5, 3.0)],
            ),
            (Some('B'), Some(0.5), None, [part(0.0, 1.0), None]),
            (None, Some(0.5), Some(4), [None, part(2.0, 4.0)]),
            (None, None, Some(0), [None, None]),
            (None, None, Some(2), [None, None]),
        ];
        for (choice, loss, tokens, expected) in cases {
            assert_eq!(parts(prediction(choice, loss, tokens)), expected);
        }
    }

    #[test]
    fn questions_decide_the_metric() {
        let [question, example] = [Some('A'), None].map(|choice| prediction(choice, None, None));
        assert_eq!(Metric::of(&[example.clone(), question]), Metric::Accuracy);
        assert_eq!(Metric::of(&[example]), Metric::CompletionLoss);
        assert!(Metric::Accuracy.is_better(0.6, 0.5) && Metric::CompletionLoss.is_better(0.5, 0.6));
        assert!(Metric::ALL.iter().all(|metric| !metric.is_better(0.5, 0.5)));
    }
}
