//! Running `plw train` and `plw eval` on what the peer is given, and reading their records.

use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_record::{EvaluationSummary, RunDirectory, read_predictions};

use super::cases::Case;
use super::record::{Answer, Evaluation, Step, Training};
use super::{Setting, peer};
use crate::process;

/// The steps of a case by plw. The peer goes first: it makes the initial adapter.
///
/// # Errors
///
/// Where it fails or its records cannot be read.
pub(super) fn train(setting: &Setting, case: &Case, steps: usize) -> Result<Training> {
    let run = RunDirectory::new(setting.scratch(&format!("runs/{}", case.name)));
    remove(&run.path)?;
    let mut command = setting.workspace.command(&setting.plw);
    command.arg("train").arg("--model").arg(&setting.model);
    command
        .arg("--train-data")
        .arg(setting.data(case.level, "train"));
    command.arg("--output-dir").arg(&run.path);
    for (flag, value) in [
        ("--prompt-loss-weight", case.prompt_loss_weight.to_string()),
        ("--learning-rate", case.learning_rate.to_string()),
        ("--weight-decay", case.weight_decay.to_string()),
        ("--max-grad-norm", case.max_grad_norm.to_string()),
        ("--warmup-steps", case.warmup_steps.to_string()),
        ("--lr-scheduler-type", "constant_with_warmup".to_string()),
        ("--per-device-train-batch-size", case.batch_size.to_string()),
        ("--max-steps", steps.to_string()),
        ("--limit", case.rows(steps).to_string()),
        ("--max-length", "2048".to_string()),
        ("--packing", "none".to_string()),
        ("--shuffle", "false".to_string()),
    ] {
        command.args([flag, &value]);
    }
    if case.lora.is_some() {
        // The adapter's own configuration brings rank and alpha.
        command
            .arg("--init-adapter")
            .arg(peer::initial_adapter(setting, case));
    }
    process::run_logged(
        &mut command,
        &setting.scratch(&format!("logs/plw-{}", case.name)),
    )?;
    let rows = run.read_metrics().into_diagnostic()?;
    // A checkpoint with the optimizer's state is several times the model.
    remove(&run.checkpoints())?;
    let step = |row: &plw_record::MetricsRow| Step {
        step: row.step,
        loss: row.loss,
        prompt_loss: row.prompt_loss,
        completion_loss: row.completion_loss,
        grad_norm: row.grad_norm,
        learning_rate: row.learning_rate,
        tokens: row.tokens,
        seconds: row.seconds,
    };
    Ok(Training {
        steps: rows.iter().map(step).collect(),
    })
}

/// The first validation questions by plw.
///
/// # Errors
///
/// Where it fails or its records cannot be read.
pub(super) fn evaluate(setting: &Setting, limit: usize) -> Result<Evaluation> {
    let out = setting.scratch("runs/eval");
    remove(&out)?;
    let mut command = setting.workspace.command(&setting.plw);
    command.arg("eval").arg("--model").arg(&setting.model);
    command
        .arg("--data")
        .arg(setting.data(super::Level::Middle, "validation"));
    command.args(["--limit", &limit.to_string(), "--max-length", "2048"]);
    command.arg("--output-dir").arg(&out);
    process::run_logged(&mut command, &setting.scratch("logs/plw-eval"))?;
    let predictions = read_predictions(out.join("predictions.parquet")).into_diagnostic()?;
    let summary = EvaluationSummary::read(out.join("summary.json")).into_diagnostic()?;
    let answer = |row: plw_record::PredictionRow| Answer {
        example_id: row.key.example_id,
        answer: row.key.answer.map(String::from).unwrap_or_default(),
        choice: row.choice.to_string(),
        logits: row.logits.iter().map(|&logit| f64::from(logit)).collect(),
        argmax_is_answer: row.argmax_is_answer,
    };
    Ok(Evaluation {
        answers: predictions.into_iter().map(answer).collect(),
        questions_per_second: summary.questions_per_second,
    })
}

/// Removes what an earlier run left: every comparison starts from nothing.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot remove {}", path.display())),
        _ => Ok(()),
    }
}
