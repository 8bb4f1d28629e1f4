//! Running the PyTorch program and reading the lines that it prints.

use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::{Value, from_value};

use super::environment::without_settings;
use super::outcome::{Answer, Evaluation, Outcome, Step};
use super::python::Python;
use super::work::{MAX_LENGTH, Program, Run, Training, Work};
use crate::process;

/// The PyTorch program.
#[derive(Debug, Clone)]
pub(crate) struct PyTorch {
    pub(crate) python: Python,
    /// `experiments/peer/peer.py`, or another that takes its options and prints its lines.
    pub(crate) script: PathBuf,
}

/// Runs it, in one of its precisions.
pub(crate) fn run(
    pytorch: &PyTorch,
    run: &Run,
    work: &Work,
    precision: Program,
) -> Result<Outcome> {
    let mut command = command(pytorch, run, work, precision);
    let log = process::run_logged(&mut command, &run.scratch.log(run.name))?;
    let lines = read(&log)?;
    let outcome = match work {
        Work::Training(training, _) => read_training(&lines, training),
        Work::Evaluation(_) => read_evaluation(&lines),
    };
    outcome.wrap_err_with(|| format!("{} is not what PyTorch should print", log.display()))
}

fn command(pytorch: &PyTorch, run: &Run, work: &Work, precision: Program) -> Command {
    let mut command = Command::new(&pytorch.python.path);
    command.arg(&pytorch.script);
    match work {
        Work::Training(training, _) => {
            command.arg("train").args(training_options(training));
            if let Some(adapter) = run.initial_adapter.filter(|_| training.lora.is_some()) {
                command.arg("--save-init").arg(adapter);
            }
        }
        Work::Evaluation(questions) => {
            command.args(["eval", "--limit", &questions.to_string()]);
        }
    }
    command.arg("--model").arg(run.model);
    command.arg("--data").arg(run.data);
    command.args(["--max-len", &MAX_LENGTH.to_string()]);
    command.args(match precision {
        Program::PeerBf16 => Some("--dtype=bfloat16"),
        Program::PeerAutocast => Some("--bf16"),
        Program::Peer | Program::Plw => None,
    });
    without_settings(&mut command);
    // Set for other programs on some machines, they slow PyTorch down.
    command
        .env_remove("OPENBLAS_CORETYPE")
        .env_remove("OPENBLAS_L2_SIZE");
    command
}

fn training_options(training: &Training) -> Vec<String> {
    let mut options = vec![
        format!("--plw={}", training.prompt_loss_weight),
        format!("--lr={}", training.learning_rate),
        format!("--weight-decay={}", training.weight_decay),
        format!("--clip={}", training.max_grad_norm),
        format!("--warmup={}", training.warmup_steps),
        format!("--batch={}", training.batch_size),
        format!("--steps={}", training.steps),
        format!("--limit={}", training.rows()),
        // Speed is computed here, from the steps.
        "--skip=0".to_string(),
    ];
    if let Some(lora) = training.lora {
        options.push(format!("--lora={},{}", lora.r, lora.alpha));
    }
    if training.nf4 {
        options.push("--nf4".to_string());
    }
    options
}

/// The JSON objects among a log's lines; libraries print other things between them.
fn read(log: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(log).into_diagnostic();
    let text = text.wrap_err_with(|| format!("cannot read {}", log.display()))?;
    let lines = text.lines();
    Ok(lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn read_training(lines: &[Value], training: &Training) -> Result<Outcome> {
    let mut steps = Vec::new();
    for line in lines.iter().filter(|line| line.get("step").is_some()) {
        let mut line = line.clone();
        // It takes full batches only.
        line["questions"] = training.batch_size.into();
        steps.push(from_value::<Step>(line).into_diagnostic()?);
    }
    if steps.len() != training.steps {
        return Err(miette!(
            "{} steps instead of {}",
            steps.len(),
            training.steps
        ));
    }
    Ok(Outcome {
        steps,
        ..from_value(summary(lines)?).into_diagnostic()?
    })
}

fn read_evaluation(lines: &[Value]) -> Result<Outcome> {
    let answers = lines.iter().filter(|line| line.get("choice").is_some());
    let answers = answers.map(|line| from_value::<Answer>(line.clone()).into_diagnostic());
    let evaluation = Evaluation {
        answers: answers.collect::<Result<_>>()?,
        ..from_value(summary(lines)?).into_diagnostic()?
    };
    Ok(Outcome {
        evaluation: Some(evaluation),
        ..from_value(summary(lines)?).into_diagnostic()?
    })
}

fn summary(lines: &[Value]) -> Result<Value> {
    let found = lines.iter().find(|line| line.get("summary").is_some());
    found.cloned().ok_or_else(|| miette!("it has no summary"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::work::Lora;
    use serde_json::json;

    fn step(step: u64) -> Value {
        json!({"step": step, "loss": 2.5, "prompt_loss": 2.8, "completion_loss": 3.1,
            "grad_norm": 6.2, "lr": 2e-4, "tokens": 1335, "seconds": 14.5})
    }

    #[test]
    fn steps_and_memory_are_read() {
        let training = Training {
            steps: 2,
            ..Training::default()
        };
        let summary = json!({"summary": true, "peak_memory_bytes": 6_100_000_000u64});
        let read = read_training(&[step(1), step(2), summary], &training).expect("complete");
        assert_eq!(read.peak_memory_bytes, Some(6_100_000_000));
        let steps: Vec<_> = read.steps.iter().map(|step| step.questions).collect();
        assert_eq!(
            (&steps[..], read.steps[1].learning_rate),
            (&[4, 4][..], 2e-4)
        );
        let untold = json!({"summary": true});
        let read = read_training(&[step(1), step(2), untold.clone()], &training).expect("complete");
        assert_eq!(read.peak_memory_bytes, None);
        for (lines, says) in [
            (vec![step(1), untold], "1 steps instead of 2"),
            (vec![step(1), step(2)], "no summary"),
        ] {
            let report = read_training(&lines, &training).expect_err("incomplete");
            assert!(report.to_string().contains(says), "{report}");
        }
    }

    #[test]
    fn answers_are_told_from_the_summary() {
        let lines = [
            json!({"example_id": "middle1.txt", "answer": "A", "choice": "B",
                "logits": [1, 2, 3, 4], "argmax_is_answer": false}),
            json!({"summary": true, "accuracy": 0.0, "questions": 1, "tokens_per_second": 500.5,
                "questions_per_second": 1.4}),
        ];
        let read = read_evaluation(&lines).expect("complete");
        let read = read.evaluation.expect("it is one");
        assert_eq!((read.questions, read.questions_per_second), (1, 1.4));
        assert_eq!(read.answers[0].logits, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn options_follow_the_work() {
        let full = training_options(&Training::default()).join(" ");
        assert!(
            full.starts_with("--plw=0.1 --lr=0.0002 --weight-decay=0.001 --clip=0.3"),
            "{full}"
        );
        assert!(!full.contains("--lora"), "{full}");
        let adapters = Training {
            lora: Some(Lora { r: 16, alpha: 32 }),
            ..Training::default()
        };
        assert!(training_options(&adapters).contains(&"--lora=16,32".to_string()));
    }
}
