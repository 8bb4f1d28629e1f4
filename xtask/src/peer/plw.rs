//! Running `plw train`, `plw eval` and `plw inspect`, and reading what they leave.

use std::path::Path;
use std::process::Command;

use miette::{IntoDiagnostic, Result, miette};
use plw_record::{EvaluationRecord, MetricsRow, PredictionRow, RunDirectory, read_predictions};
use serde::Deserialize;

use super::environment::without_settings;
use super::outcome::{Answer, Evaluation, Outcome, Step};
use super::scratch::remove;
use super::work::{Layout, Lora, MAX_LENGTH, Run, Training, Work};
use crate::process;
use crate::read::read_json;

/// Runs `plw train` or `plw eval`.
pub(crate) fn run(plw: &Path, run: &Run, work: &Work) -> Result<Outcome> {
    let records = run.scratch.empty_run(run.name)?;
    let mut command = match work {
        Work::Training(training, layout) => {
            let mut command = command(plw, run, "train");
            command.arg("--train-data").arg(run.data);
            command.args(training_flags(training, *layout));
            if let Some(lora) = &training.lora {
                match run.initial_adapter {
                    // Its own configuration brings rank and alpha.
                    Some(adapter) => command.arg("--init-adapter").arg(adapter),
                    None => command.args(lora_flags(lora)),
                };
                if training.nf4 {
                    command.args(["--dtype", "nf4"]);
                }
            }
            command
        }
        Work::Evaluation(questions) => {
            let mut command = command(plw, run, "eval");
            command.arg("--data").arg(run.data);
            command.args(["--limit", &questions.to_string()]);
            command
        }
    };
    command.arg("--output-dir").arg(&records);
    process::run_logged(&mut command, &run.scratch.log(run.name))?;
    match work {
        Work::Training(training, _) => read_training(&RunDirectory::new(records), training),
        Work::Evaluation(_) => read_evaluation(&records),
    }
}

fn read_training(records: &RunDirectory, training: &Training) -> Result<Outcome> {
    // A checkpoint with the optimizer's state is several times the model.
    remove(&records.checkpoints())?;
    let rows = records.read_metrics().into_diagnostic()?;
    let is_whole = |row: &MetricsRow| row.questions == training.batch_size as u64;
    if rows.len() != training.steps || !rows.iter().all(is_whole) {
        return Err(miette!(
            help = format!("see {}", records.metrics().display()),
            "plw did not take {} steps of {} questions",
            training.steps,
            training.batch_size
        ));
    }
    let (summary, _) = records.read_summary().into_diagnostic()?;
    Ok(Outcome {
        peak_memory_bytes: summary.peak_memory_bytes,
        steps: rows.iter().map(step).collect(),
        evaluation: None,
    })
}

fn read_evaluation(records: &Path) -> Result<Outcome> {
    let (EvaluationRecord { summary, .. }, _) =
        EvaluationRecord::read(records).into_diagnostic()?;
    let predictions = read_predictions(records.join("predictions.parquet")).into_diagnostic()?;
    let evaluation = Evaluation {
        questions: summary.accuracy.questions,
        accuracy: summary.accuracy.accuracy,
        questions_per_second: summary.questions_per_second,
        tokens_per_second: summary.tokens_per_second,
        answers: predictions.into_iter().map(answer).collect(),
    };
    Ok(Outcome {
        peak_memory_bytes: summary.peak_memory_bytes,
        steps: Vec::new(),
        evaluation: Some(evaluation),
    })
}

/// A sequence's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Length {
    #[serde(rename = "prompt_tokens")]
    pub(crate) prompt: u64,
    #[serde(rename = "completion_tokens")]
    pub(crate) completion: u64,
}

impl Length {
    pub(crate) fn tokens(self) -> u64 {
        self.prompt + self.completion
    }
}

/// The lengths of the sequences that a run trains on, one by one, which its records do not tell.
pub(crate) fn sequence_lengths(plw: &Path, run: &Run, rows: usize) -> Result<Vec<Length>> {
    #[derive(Deserialize)]
    struct Inspected {
        examples: Vec<Length>,
    }
    let rows = rows.to_string();
    let mut command = command(plw, run, "inspect");
    command.arg("--data").arg(run.data);
    command.args(["--json", "--limit", &rows, "--examples", &rows]);
    let out = process::run_logged(&mut command, &run.scratch.log(run.name))?;
    let inspected: Inspected = read_json(&out)?;
    let is_kept = |length: &Length| length.tokens() <= MAX_LENGTH;
    Ok(inspected.examples.into_iter().filter(is_kept).collect())
}

fn command(plw: &Path, run: &Run, what: &str) -> Command {
    let mut command = Command::new(plw);
    command.arg(what).arg("--model").arg(run.model);
    command.args(["--max-length", &MAX_LENGTH.to_string()]);
    without_settings(&mut command);
    command
}

fn training_flags(training: &Training, layout: Layout) -> Vec<String> {
    let shares = layout == Layout::SharedPrefixes;
    vec![
        format!("--prompt-loss-weight={}", training.prompt_loss_weight),
        format!("--learning-rate={}", training.learning_rate),
        format!("--weight-decay={}", training.weight_decay),
        format!("--max-grad-norm={}", training.max_grad_norm),
        format!("--warmup-steps={}", training.warmup_steps),
        "--lr-scheduler-type=constant_with_warmup".to_string(),
        format!("--per-device-train-batch-size={}", training.batch_size),
        format!("--max-steps={}", training.steps),
        format!("--limit={}", training.rows()),
        "--packing=none".to_string(),
        "--shuffle=false".to_string(),
        format!("--share-prefixes={shares}"),
    ]
}

fn lora_flags(lora: &Lora) -> [String; 3] {
    [
        format!("--lora-r={}", lora.r),
        format!("--lora-alpha={}", lora.alpha),
        "--lora-dropout=0".to_string(),
    ]
}

fn step(row: &MetricsRow) -> Step {
    Step {
        step: row.step,
        loss: row.loss,
        prompt_loss: row.prompt_loss,
        completion_loss: row.completion_loss,
        grad_norm: row.grad_norm,
        learning_rate: row.learning_rate,
        tokens: row.tokens,
        questions: row.questions,
        seconds: row.seconds,
    }
}

fn answer(row: PredictionRow) -> Answer {
    Answer {
        example_id: row.key.example_id,
        answer: row.key.answer.map(String::from).unwrap_or_default(),
        choice: row.choice.map(String::from).unwrap_or_default(),
        logits: row.logits.iter().map(|&logit| f64::from(logit)).collect(),
        argmax_is_answer: row.argmax_is_answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_what_is_shared_and_trained() {
        let flags = training_flags(&Training::default(), Layout::SharedPrefixes).join(" ");
        assert!(flags.contains("--share-prefixes=true"), "{flags}");
        assert!(flags.contains("--per-device-train-batch-size=4 --max-steps=5 --limit=28"));
        let flags = training_flags(&Training::default(), Layout::Concatenated).join(" ");
        assert!(flags.contains("--share-prefixes=false"), "{flags}");
        let flags = lora_flags(&Lora { r: 16, alpha: 32 });
        assert_eq!(
            flags,
            ["--lora-r=16", "--lora-alpha=32", "--lora-dropout=0"]
        );
    }

    #[test]
    fn lengths_are_read_from_what_plw_inspect_prints() {
        let printed = r#"{"prompt_tokens": 332, "completion_tokens": 3, "answer": "B"}"#;
        let read: Length = serde_json::from_str(printed).expect("a length");
        assert_eq!((read.prompt, read.completion, read.tokens()), (332, 3, 335));
    }
}
