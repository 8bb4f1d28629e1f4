//! Running `plw train` and `plw eval` on what the peer is given, and reading their records.

use std::path::Path;
use std::process::Command;

use miette::{IntoDiagnostic, Result, miette};
use plw_record::{EvaluationSummary, RunDirectory};

use super::cases::{Job, LORA_ALPHA, LORA_R, Layout, Trained, Training};
use super::environment::without_settings;
use super::operations::{Length, lengths};
use super::record::{EvaluationOutcome, Outcome, Step, TrainingOutcome};
use super::setting::{Files, Setting};
use crate::parity::plw::remove;
use crate::process;

/// Of every training run, by either program.
pub(super) const LEARNING_RATE: f64 = 2e-4;
/// Of every training run, by either program.
pub(super) const WEIGHT_DECAY: f64 = 1e-3;
/// Of every training run, by either program.
pub(super) const CLIP: f64 = 0.3;
/// Tokens of the longest sequence.
pub(super) const MAX_LENGTH: &str = "2048";

/// What plw makes of a job; its output goes to `logs/NAME`, its records to `runs/NAME`.
///
/// # Errors
///
/// Where it fails or its records cannot be read.
pub(super) fn run(setting: &Setting, files: &Files, job: &Job, name: &str) -> Result<Outcome> {
    let out = setting.scratch("runs").join(name);
    remove(&out)?;
    let what = match job {
        Job::Training(_) => "train",
        Job::Evaluation { .. } => "eval",
    };
    let mut command = command(setting, files, what);
    command.arg("--output-dir").arg(&out);
    match job {
        Job::Training(training) => command
            .arg("--train-data")
            .arg(&files.train)
            .args(training_flags(training)),
        Job::Evaluation { questions } => command
            .arg("--data")
            .arg(&files.validation)
            .args(["--limit", &questions.to_string()]),
    };
    process::run_logged(&mut command, &setting.scratch("logs").join(name))?;
    match job {
        Job::Training(training) => {
            let run = RunDirectory::new(out);
            let read = read_training(&run, training)?;
            // A checkpoint with the optimizer's state is several times the model.
            remove(&run.checkpoints())?;
            Ok(Outcome::Training(read))
        }
        Job::Evaluation { .. } => {
            let summary = EvaluationSummary::read(out.join("summary.json")).into_diagnostic()?;
            Ok(Outcome::Evaluation(EvaluationOutcome {
                questions: summary.accuracy.questions,
                accuracy: summary.accuracy.accuracy,
                questions_per_second: summary.questions_per_second,
                tokens_per_second: summary.tokens_per_second,
            }))
        }
    }
}

/// The lengths of the first sequences that a training run on these files has, which its records do not tell one by one.
///
/// # Errors
///
/// Where `plw inspect` fails.
pub(super) fn sequence_lengths(
    setting: &Setting,
    files: &Files,
    training: &Training,
) -> Result<Vec<Length>> {
    let rows = training.rows().to_string();
    let mut command = command(setting, files, "inspect");
    command.arg("--data").arg(&files.train);
    command.args(["--limit", &rows, "--examples", &rows, "--color", "never"]);
    let log = setting.scratch("logs/plw-inspect");
    let out = process::run_logged(&mut command, &log)?;
    Ok(lengths(&std::fs::read_to_string(out).into_diagnostic()?))
}

fn command(setting: &Setting, files: &Files, what: &str) -> Command {
    let mut command = setting.workspace.command(&setting.plw);
    command.arg(what).arg("--model").arg(&files.model);
    command.args(["--max-length", MAX_LENGTH]);
    without_settings(&mut command);
    command
}

fn training_flags(training: &Training) -> Vec<String> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: String| flags.extend([name.to_string(), value]);
    flag(
        "--prompt-loss-weight",
        training.prompt_loss_weight.to_string(),
    );
    flag("--learning-rate", LEARNING_RATE.to_string());
    flag("--weight-decay", WEIGHT_DECAY.to_string());
    flag("--max-grad-norm", CLIP.to_string());
    flag("--warmup-steps", "0".to_string());
    flag("--lr-scheduler-type", "constant_with_warmup".to_string());
    flag(
        "--per-device-train-batch-size",
        training.batch_size.to_string(),
    );
    flag("--max-steps", training.steps.to_string());
    flag("--limit", training.rows().to_string());
    flag("--packing", "none".to_string());
    flag("--shuffle", "false".to_string());
    let shares = training.layout == Layout::Shared;
    flag("--share-prefixes", shares.to_string());
    if training.trained == Trained::Adapters {
        flag("--lora-r", LORA_R.to_string());
        flag("--lora-alpha", LORA_ALPHA.to_string());
        flag("--lora-dropout", "0".to_string());
    }
    flags
}

fn read_training(run: &RunDirectory, training: &Training) -> Result<TrainingOutcome> {
    let steps: Vec<Step> = run
        .read_metrics()
        .into_diagnostic()?
        .iter()
        .map(|row| Step {
            step: row.step,
            loss: row.loss,
            tokens: row.tokens,
            questions: row.questions,
            seconds: row.seconds,
        })
        .collect();
    let is_whole = |step: &Step| step.questions == training.batch_size as u64;
    if steps.len() != training.steps || !steps.iter().all(is_whole) {
        return Err(miette!(
            help = format!("see {}", Path::new(&run.metrics()).display()),
            "plw did not take {} steps of {} questions",
            training.steps,
            training.batch_size
        ));
    }
    let summary = run.read_summary().into_diagnostic()?;
    Ok(TrainingOutcome {
        peak_memory_bytes: summary.peak_memory_bytes,
        steps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::{Case, Extent, Program};

    #[test]
    fn flags_say_what_is_shared_and_trained() {
        let flags = |case: Case| match case.job(&Extent::WHOLE, Program::Plw) {
            Job::Training(training) => training_flags(&training).join(" "),
            Job::Evaluation { .. } => panic!("{case:?} trains"),
        };
        let cases = [
            (Case::FullBatch4, "--share-prefixes false", "--lora"),
            (Case::FullBatch16Shared, "--share-prefixes true", "--lora"),
            (Case::LoraZero, "--prompt-loss-weight 0 ", "false --lora"),
            (Case::LoraTenth, "--lora-r 16 --lora-alpha 32", "weight 0 "),
            (Case::SmallModel, "--prompt-loss-weight 1 ", "prefixes true"),
        ];
        for (case, has, lacks) in cases {
            let flags = flags(case);
            assert!(
                flags.contains(has) && !flags.contains(lacks),
                "{case:?}: {flags}"
            );
        }
        assert!(flags(Case::LoraZero).contains("--per-device-train-batch-size 16 --max-steps 5"));
    }
}
