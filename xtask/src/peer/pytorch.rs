//! Running `shared/peer/peer.py` and reading what it prints.

use std::path::Path;
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Setting;
use super::cases::Case;
use super::record::{Answer, Evaluation, Step, Training};
use crate::process;

/// Where the peer leaves the initial adapter of a case.
pub(super) fn initial_adapter(setting: &Setting, case: &Case) -> std::path::PathBuf {
    setting.scratch(&format!("adapters/{}", case.name))
}

/// The steps of a case by the peer.
///
/// # Errors
///
/// Where it fails or prints something else.
pub(super) fn train(setting: &Setting, case: &Case, steps: usize) -> Result<Training> {
    let mut command = command(setting, "train");
    command.arg("--data").arg(setting.data(case.level, "train"));
    for (flag, value) in [
        ("--plw", case.prompt_loss_weight.to_string()),
        ("--lr", case.learning_rate.to_string()),
        ("--weight-decay", case.weight_decay.to_string()),
        ("--clip", case.max_grad_norm.to_string()),
        ("--warmup", case.warmup_steps.to_string()),
        ("--batch", case.batch_size.to_string()),
        ("--steps", steps.to_string()),
        ("--limit", case.rows(steps).to_string()),
        ("--max-len", "2048".to_string()),
        // The timing is taken from the steps themselves.
        ("--skip", "0".to_string()),
    ] {
        command.args([flag, &value]);
    }
    if let Some(lora) = case.lora {
        command
            .arg("--lora")
            .arg(format!("{},{}", lora.r, lora.alpha));
        command
            .arg("--save-init")
            .arg(initial_adapter(setting, case));
    }
    let out = process::run_logged(
        &mut command,
        &setting.scratch(&format!("logs/peer-{}", case.name)),
    )?;
    Ok(Training {
        steps: lines::<Step>(&out)?,
    })
}

/// The first validation questions by the peer.
///
/// # Errors
///
/// Where it fails or prints something else.
pub(super) fn evaluate(setting: &Setting, limit: usize) -> Result<Evaluation> {
    #[derive(Deserialize)]
    struct Summary {
        questions_per_second: f64,
    }
    let mut command = command(setting, "eval");
    command
        .arg("--data")
        .arg(setting.data(super::Level::Middle, "validation"));
    command.args(["--limit", &limit.to_string()]);
    let out = process::run_logged(&mut command, &setting.scratch("logs/peer-eval"))?;
    let answers = lines::<Answer>(&out)?;
    let questions_per_second = lines::<Summary>(&out)?
        .first()
        .map_or(0.0, |summary| summary.questions_per_second);
    Ok(Evaluation {
        answers,
        questions_per_second,
    })
}

fn command(setting: &Setting, what: &str) -> Command {
    let mut command = setting.workspace.command(&setting.python);
    command
        .arg(setting.shared.join("peer/peer.py"))
        .arg(what)
        .arg("--model")
        .arg(&setting.model);
    // Set for other programs on some machines, they slow PyTorch down.
    command
        .env_remove("OPENBLAS_CORETYPE")
        .env_remove("OPENBLAS_L2_SIZE");
    command
}

/// The lines of a log that are of a kind: a step or an answer, or the summary that comes last.
pub(crate) fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).into_diagnostic();
    let text = text.wrap_err_with(|| format!("cannot read {}", path.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_lines_are_told_apart() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("peer.out");
        let text = "trainable params: 7\n\
            {\"step\": 1, \"loss\": 2.9, \"prompt_loss\": 2.8, \"completion_loss\": 3.1, \"grad_norm\": 6.2, \"lr\": 0.0002, \
             \"tokens\": 1335, \"seconds\": 14.5}\n\
            {\"summary\": true, \"steps_timed\": 1, \"tokens_per_second\": 92.0, \"questions_per_second\": 0.27}\n";
        std::fs::write(&path, text).expect("written");
        let steps: Vec<Step> = lines(&path).expect("read");
        assert_eq!(
            (steps.len(), steps[0].learning_rate, steps[0].prompt_loss),
            (1, 2e-4, Some(2.8))
        );
        assert!(lines::<Answer>(&path).expect("read").is_empty());
    }
}
