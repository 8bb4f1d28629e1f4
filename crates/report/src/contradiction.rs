//! Whether a summary is that of the predictions beside it.

use plw_record::{Accuracy, EvaluationSummary, PredictionRow};

use crate::metric::Metric;
use crate::passages::{items, total_on};

/// Predictions hold each example's loss in f32, the summary a mean in f64: they agree to half a
/// unit of f32's last place, 6e-8 of the loss, and rounding.
const LOSS_TOLERANCE: f64 = 1e-6;

/// The first value of a summary that is not that of the predictions beside it, and both: the
/// accuracies, or the completion loss of predictions without a question. Intervals are not
/// compared: another version may compute them otherwise.
pub(crate) fn contradiction(
    said: &EvaluationSummary,
    predictions: &[PredictionRow],
) -> Option<(&'static str, String, String)> {
    let counted = accuracies(&Accuracy::of(predictions)).into_iter();
    let mut both = accuracies(&said.accuracy).into_iter().zip(counted);
    let differs = both.find(|((_, said), (_, counted))| (said - counted).abs() >= 1e-9);
    if let Some(((name, said), (_, counted))) = differs {
        return Some((name, said.to_string(), counted.to_string()));
    }
    match Metric::of(predictions) {
        Metric::Accuracy => None,
        Metric::CompletionLoss => contradicting_loss(said, predictions),
    }
}

fn accuracies(of: &Accuracy) -> [(&'static str, f64); 5] {
    [
        ("questions", of.questions as f64),
        ("correct", of.correct as f64),
        ("accuracy", of.accuracy),
        ("argmax_correct", of.argmax_correct as f64),
        ("argmax_accuracy", of.argmax_accuracy),
    ]
}

/// Number of examples, and their mean loss.
fn contradicting_loss(
    said: &EvaluationSummary,
    predictions: &[PredictionRow],
) -> Option<(&'static str, String, String)> {
    if said.examples != predictions.len() as u64 {
        let counted = predictions.len().to_string();
        return Some(("examples", said.examples.to_string(), counted));
    }
    let metric = Metric::CompletionLoss;
    let total = total_on(predictions, &items(predictions, metric), metric);
    let counted = total.sum / total.count;
    let agrees = |said: f64| (said - counted).abs() <= LOSS_TOLERANCE * counted.abs();
    // NaN agrees with nothing.
    (!said.completion_loss.is_some_and(agrees)).then(|| {
        let said = said.completion_loss;
        let said = said.map_or("null".to_string(), |loss| loss.to_string());
        ("completion_loss", said, counted.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_batch::ExampleKey;

    fn prediction(row: u64, loss: f32, tokens: u64) -> PredictionRow {
        PredictionRow {
            key: ExampleKey {
                file: "chats.jsonl".into(),
                row,
                example_id: format!("chats-{row}"),
                level: "data".into(),
                answer: None,
            },
            choice: None,
            logits: Vec::new(),
            argmax_is_answer: false,
            prompt_loss: None,
            completion_loss: Some(loss),
            answer_loss: None,
            completion_tokens: Some(tokens),
        }
    }

    #[test]
    fn the_loss_of_a_summary_is_that_of_its_predictions() {
        // f32 holds neither exactly.
        let (first, second) = (1.1, 0.7);
        let rows = [
            prediction(0, first as f32, 3),
            prediction(1, second as f32, 5),
        ];
        let mean = (3.0 * first + 5.0 * second) / 8.0;
        let summary = |loss, examples| EvaluationSummary {
            completion_loss: loss,
            examples,
            ..EvaluationSummary::of(&rows)
        };
        assert_eq!(contradiction(&summary(Some(mean), 2), &rows), None);
        let name = |summary| contradiction(&summary, &rows).map(|(name, said, _)| (name, said));
        for (loss, examples, expected) in [
            (Some(mean), 3, ("examples", "3")),
            (None, 2, ("completion_loss", "null")),
            (Some(0.5), 2, ("completion_loss", "0.5")),
            (Some(f64::NAN), 2, ("completion_loss", "NaN")),
        ] {
            let expected = (expected.0, expected.1.to_string());
            assert_eq!(name(summary(loss, examples)), Some(expected));
        }
        let close = summary(Some(mean * (1.0 + 1e-5)), 2);
        assert!(contradiction(&close, &rows).is_some());
        let not_finite = [prediction(0, f32::NAN, 3)];
        let said = EvaluationSummary {
            completion_loss: Some(f64::NAN),
            ..EvaluationSummary::of(&not_finite)
        };
        assert!(contradiction(&said, &not_finite).is_some());
    }
}
