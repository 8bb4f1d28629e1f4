//! `summary.json`: the result of an evaluation or of a whole run.

use std::collections::BTreeMap;
use std::path::Path;

use plw_files::Verified;
use serde::{Deserialize, Serialize};

use crate::digested::{SUMMARY, read_digested, write_digested};
use crate::{Machine, PredictionRow, Proportion, RecordError, Z_95};

/// What an evaluation leaves beside its summary.
const EVALUATED: [&str; 2] = ["evaluation.toml", "predictions.parquet"];

/// How many questions were answered correctly, in both senses, with Wilson's 95 % intervals.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Accuracy {
    /// Questions asked.
    pub questions: u64,
    /// Questions whose answer has the highest logit among the options.
    pub correct: u64,
    /// Their proportion.
    pub accuracy: f64,
    /// Wilson's 95 % interval of that proportion.
    pub accuracy_interval: [f64; 2],
    /// Questions whose answer has the highest logit of the whole vocabulary: the article's metric.
    pub argmax_correct: u64,
    /// Their proportion.
    pub argmax_accuracy: f64,
    /// Wilson's 95 % interval of that proportion.
    pub argmax_accuracy_interval: [f64; 2],
}

impl Accuracy {
    /// From the counts in both senses, over the same questions.
    pub fn new(choice: Proportion, argmax: Proportion) -> Self {
        Self {
            questions: choice.total,
            correct: choice.correct,
            accuracy: choice.value(),
            accuracy_interval: choice.wilson_interval(Z_95),
            argmax_correct: argmax.correct,
            argmax_accuracy: argmax.value(),
            argmax_accuracy_interval: argmax.wilson_interval(Z_95),
        }
    }

    /// Counts both over the questions among these predictions.
    pub fn of<'a>(predictions: impl IntoIterator<Item = &'a PredictionRow> + Clone) -> Self {
        let questions = || predictions.clone().into_iter().filter(|p| p.is_question());
        Self::new(
            Proportion::of(questions().map(PredictionRow::is_correct)),
            Proportion::of(questions().map(|p| p.argmax_is_answer)),
        )
    }
}

/// The accuracy on the questions of each level that has some.
pub fn accuracy_by_level(predictions: &[PredictionRow]) -> BTreeMap<String, Accuracy> {
    let mut by_level = BTreeMap::<String, Vec<&PredictionRow>>::new();
    for prediction in predictions.iter().filter(|p| p.is_question()) {
        let level = by_level
            .entry(prediction.key.level.to_string())
            .or_default();
        level.push(prediction);
    }
    by_level
        .into_iter()
        .map(|(level, of)| (level, Accuracy::of(of.iter().copied())))
        .collect()
}

/// The result of an evaluation. Losses are in nats: means over (sequence, target) pairs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EvaluationSummary {
    /// Over all questions. Its fields are keys at the top level.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// For each level that has questions.
    pub by_level: BTreeMap<String, Accuracy>,
    /// Examples evaluated: the questions, and those without options to choose among. 0 in files of
    /// earlier versions.
    #[serde(default)]
    pub examples: u64,
    /// Examples among them of which no completion token has a loss weight, so that their
    /// completions have no loss.
    #[serde(default)]
    pub unscored_examples: u64,
    /// Examples dropped because they are longer than `max_length`.
    #[serde(default)]
    pub dropped_examples: u64,
    /// Bad rows skipped.
    #[serde(default)]
    pub skipped_rows: u64,
    /// Mean loss of the prompt tokens. Null if it was not asked for.
    pub prompt_loss: Option<f64>,
    /// Mean loss of the completion tokens. Null if no completion token was predicted.
    pub completion_loss: Option<f64>,
    /// exp(`completion_loss`). Null where that is null, or where f64 cannot hold it.
    #[serde(default)]
    pub perplexity: Option<f64>,
    /// Mean loss of the answer tokens.
    pub answer_loss: Option<f64>,
    /// Tokens of the sequences. A prefix counts once for each sequence that shares it.
    #[serde(default)]
    pub tokens: u64,
    /// Positions that forward passes computed, padding included.
    #[serde(default)]
    pub tokens_computed: u64,
    /// `tokens` per second.
    pub tokens_per_second: f64,
    /// Questions per second.
    pub questions_per_second: f64,
    /// `examples` per second.
    #[serde(default)]
    pub examples_per_second: f64,
    /// Peak resident memory of the process in bytes, if the system reports it.
    pub peak_memory_bytes: Option<u64>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Whether the examples of a group, such as the questions of a passage, shared its tokens.
    pub share_prefixes: bool,
}

impl EvaluationSummary {
    /// Accuracy of these predictions, overall and by level, and how many there are. The caller
    /// fills in losses, speed and memory.
    pub fn of(predictions: &[PredictionRow]) -> Self {
        let unscored = predictions
            .iter()
            .filter(|p| p.completion_tokens == Some(0));
        Self {
            accuracy: Accuracy::of(predictions),
            by_level: accuracy_by_level(predictions),
            examples: predictions.len() as u64,
            unscored_examples: unscored.count() as u64,
            ..Self::default()
        }
    }
}

/// An evaluation during a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRow {
    /// After which step; 0 is before the first.
    pub step: u64,
    /// On which data: `validation` or `test`.
    pub split: String,
    /// The result.
    #[serde(flatten)]
    pub summary: EvaluationSummary,
}

/// The `summary.json` of `plw eval`: the result, the settings and the machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// The result. Its fields are keys at the top level.
    #[serde(flatten)]
    pub summary: EvaluationSummary,
    /// [`crate::RunConfig::hash`] of the settings, which lie beside it as `evaluation.toml`.
    pub config_hash: String,
    /// The machine that it ran on.
    pub machine: Machine,
}

impl EvaluationRecord {
    /// Writes `summary.json` into the folder of an evaluation, with digests of itself and of the
    /// settings and predictions beside it. Atomically, and last.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<(), RecordError> {
        let folder = folder.as_ref();
        let files = EVALUATED.map(str::to_string);
        write_digested(folder, SUMMARY, self, files.into())
    }

    /// Reads what [`Self::write`] wrote, once it and the files beside it were compared with their
    /// digests.
    pub fn read(folder: impl AsRef<Path>) -> Result<(Self, Verified), RecordError> {
        read_digested(folder.as_ref(), SUMMARY)
    }
}

/// The result of a run. Its `summary.json` marks the run as complete.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// The run's name.
    pub name: String,
    /// [`crate::RunConfig::hash`] of its configuration.
    pub config_hash: String,
    /// Optimizer steps.
    pub steps: u64,
    /// Passes over the training data.
    pub epochs: f64,
    /// The evaluation before the first step.
    pub initial: Option<EvaluationRow>,
    /// The evaluation after the last step.
    #[serde(rename = "final")]
    pub last: Option<EvaluationRow>,
    /// The evaluation of the best checkpoint. Null without `load_best_model_at_end`.
    pub best: Option<EvaluationRow>,
    /// The evaluation of the chosen model on the test data, if there is any.
    pub test: Option<EvaluationRow>,
    /// Objective of the last logged step.
    pub train_loss: Option<f64>,
    /// Tokens trained on. A prefix counts once for each sequence that shares it.
    pub tokens: u64,
    /// Positions that forward passes computed, padding included.
    pub tokens_computed: u64,
    /// Questions trained on.
    pub questions: u64,
    /// Wall-clock seconds of the training steps, without evaluations and checkpoints.
    pub seconds: f64,
    /// `tokens` per second, over the steps after the second step of each process. Null if there is
    /// no such step.
    pub tokens_per_second: Option<f64>,
    /// Questions per second, over the same steps.
    pub questions_per_second: Option<f64>,
    /// Peak resident memory of the process in bytes, if the system reports it.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes of the GPU's memory that the run reserved, where it was computed on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_bytes: Option<u64>,
    /// Parameters of the model, adapters included.
    pub parameters: u64,
    /// Parameters that were trained.
    pub trainable_parameters: u64,
    /// Training examples.
    pub examples: u64,
    /// Examples dropped because they are longer than `max_length`.
    pub dropped_examples: u64,
    /// Bad rows skipped under `on_bad_row = "skip"`.
    pub skipped_rows: u64,
    /// Proportion of the packs' positions that hold tokens. Null without packing.
    pub packing_density: Option<f64>,
    /// Sequences per pack. Null without packing.
    pub packing_compression: Option<f64>,
    /// The machine that it ran on; of several processes the first one's.
    pub machine: Machine,
    /// Processes that shared the work since the run was last resumed. 0 in summaries of earlier
    /// versions, whose runs had one.
    #[serde(default)]
    pub processes: u64,
}

impl TrainingSummary {
    /// The evaluation that tables use: that on the test data, else the best, else the last.
    pub fn reported(&self) -> Option<&EvaluationRow> {
        self.test
            .as_ref()
            .or(self.best.as_ref())
            .or(self.last.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_batch::ExampleKey;

    fn prediction(level: &str, choice: char, argmax_is_answer: bool) -> PredictionRow {
        PredictionRow {
            key: ExampleKey {
                file: "a.parquet".into(),
                row: 0,
                example_id: "1".to_string(),
                level: level.into(),
                answer: Some('A'),
            },
            choice: Some(choice),
            logits: vec![1.0, 0.0],
            argmax_is_answer,
            prompt_loss: None,
            completion_loss: None,
            answer_loss: None,
            completion_tokens: Some(2),
        }
    }

    #[test]
    fn an_evaluation_has_its_values_at_the_top_level() -> Result<(), Box<dyn std::error::Error>> {
        let summary = EvaluationSummary {
            tokens_per_second: 92.5,
            peak_memory_bytes: Some(1 << 30),
            completion_loss: Some(0.1 + 0.2),
            ..EvaluationSummary::of(&[
                prediction("middle", 'A', true),
                prediction("middle", 'B', false),
                prediction("high", 'A', false),
                prediction("high", 'A', true),
            ])
        };
        let text = serde_json::to_string(&summary)?;
        assert_eq!(serde_json::from_str::<EvaluationSummary>(&text)?, summary);
        let json: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(json["accuracy"], 0.75);
        assert_eq!(json["argmax_accuracy"], 0.5);
        assert_eq!(json["questions"], 4);
        assert_eq!(json["by_level"]["high"]["accuracy"], 1.0);
        assert_eq!(json["by_level"]["middle"]["correct"], 1);
        assert_eq!(json["tokens_per_second"], 92.5);
        assert_eq!(json["peak_memory_bytes"], 1 << 30);
        assert!(json["prompt_loss"].is_null() && json["accuracy_interval"][0].is_f64());
        Ok(())
    }

    #[test]
    fn accuracy_is_that_of_the_questions_alone() -> Result<(), Box<dyn std::error::Error>> {
        let question = prediction("middle", 'A', true);
        let example = |completion_tokens| PredictionRow {
            key: ExampleKey {
                level: "chats".into(),
                answer: None,
                ..question.key.clone()
            },
            choice: None,
            logits: Vec::new(),
            argmax_is_answer: false,
            completion_tokens: Some(completion_tokens),
            ..question.clone()
        };
        let both = EvaluationSummary::of(&[question.clone(), example(7), example(0)]);
        assert_eq!((both.examples, both.unscored_examples), (3, 1));
        assert_eq!((both.accuracy.questions, both.accuracy.accuracy), (1, 1.0));
        assert_eq!(both.by_level.keys().collect::<Vec<_>>(), ["middle"]);
        let none = EvaluationSummary::of(&[example(7)]);
        assert_eq!((none.examples, none.accuracy.questions), (1, 0));
        assert_eq!(none.accuracy.accuracy_interval, [0.0, 1.0]);
        assert!(none.by_level.is_empty());
        Ok(())
    }

    #[test]
    fn evaluations_of_earlier_versions_are_read() -> Result<(), Box<dyn std::error::Error>> {
        let summary = EvaluationSummary::of(&[prediction("middle", 'A', true)]);
        let mut keys: serde_json::Map<_, _> =
            serde_json::from_str(&serde_json::to_string(&summary)?)?;
        for key in [
            "examples",
            "unscored_examples",
            "perplexity",
            "examples_per_second",
        ] {
            assert!(keys.remove(key).is_some(), "{key}");
        }
        let read: EvaluationSummary = serde_json::from_value(keys.into())?;
        assert_eq!(
            read,
            EvaluationSummary {
                examples: 0,
                ..summary
            }
        );
        Ok(())
    }

    #[test]
    fn a_run_reports_the_right_evaluation() -> Result<(), Box<dyn std::error::Error>> {
        let evaluation = |step, split: &str| EvaluationRow {
            step,
            split: split.to_string(),
            summary: EvaluationSummary::of(&[prediction("high", 'A', true)]),
        };
        let mut run = TrainingSummary {
            name: "plw-0.1-seed-1".to_string(),
            initial: Some(evaluation(0, "validation")),
            last: Some(evaluation(200, "validation")),
            packing_density: Some(0.97),
            machine: Machine::this(),
            ..TrainingSummary::default()
        };
        let step = |run: &TrainingSummary| run.reported().map(|e| (e.step, e.split.clone()));
        assert_eq!(step(&run), Some((200, "validation".to_string())));
        run.best = Some(evaluation(150, "validation"));
        assert_eq!(step(&run), Some((150, "validation".to_string())));
        run.test = Some(evaluation(150, "test"));
        assert_eq!(step(&run), Some((150, "test".to_string())));
        Ok(())
    }
}
