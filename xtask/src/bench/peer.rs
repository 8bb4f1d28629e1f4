//! Running `shared/peer/peer.py` and reading what it prints.

use std::path::Path;
use std::process::Command;

use miette::{Result, miette};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cases::{Job, LORA_ALPHA, LORA_R, Trained, Training};
use super::environment::without_settings;
use super::plw::{CLIP, LEARNING_RATE, MAX_LENGTH, WEIGHT_DECAY};
use super::record::{Outcome, Step, TrainingOutcome};
use super::setting::{Files, Peer, Setting};
use crate::parity::peer::lines;
use crate::process;

/// Runs a script and prints one line more: the most memory that its process held. macOS counts in bytes, others in KiB.
const WITH_PEAK_MEMORY: &str = "\
import json, resource, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(dict(peak_memory_bytes=peak * (1 if sys.platform == 'darwin' else 1024))))
";

/// What the peer makes of a job; its output goes to `logs/NAME`.
///
/// # Errors
///
/// Where it fails or prints something else.
pub(super) fn run(
    setting: &Setting,
    peer: &Peer,
    files: &Files,
    job: &Job,
    name: &str,
) -> Result<Outcome> {
    let log = setting.scratch("logs").join(name);
    match job {
        Job::Training(training) => {
            let mut command = command(setting, peer, files, "train");
            command.arg("--data").arg(&files.train);
            command.args(training_flags(training));
            let out = process::run_logged(&mut command, &log)?;
            read_training(&out, training).map(Outcome::Training)
        }
        Job::Evaluation { questions } => {
            let mut command = command(setting, peer, files, "eval");
            command.arg("--data").arg(&files.validation);
            command.args(["--limit", &questions.to_string(), "--max-len", MAX_LENGTH]);
            let out = process::run_logged(&mut command, &log)?;
            last(&out).map(Outcome::Evaluation)
        }
    }
}

fn command(setting: &Setting, peer: &Peer, files: &Files, what: &str) -> Command {
    let mut command = setting.workspace.command(&peer.python.path);
    command.args(["-c", WITH_PEAK_MEMORY]);
    command.arg(&peer.script).arg(what);
    command.arg("--model").arg(&files.model);
    without_settings(&mut command);
    // Set for other programs on some machines, they slow PyTorch down.
    command
        .env_remove("OPENBLAS_CORETYPE")
        .env_remove("OPENBLAS_L2_SIZE");
    command
}

fn training_flags(training: &Training) -> Vec<String> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: String| flags.extend([name.to_string(), value]);
    flag("--plw", training.prompt_loss_weight.to_string());
    flag("--lr", LEARNING_RATE.to_string());
    flag("--weight-decay", WEIGHT_DECAY.to_string());
    flag("--clip", CLIP.to_string());
    flag("--warmup", "0".to_string());
    flag("--batch", training.batch_size.to_string());
    flag("--steps", training.steps.to_string());
    flag("--limit", training.rows().to_string());
    flag("--max-len", MAX_LENGTH.to_string());
    // The timing is taken from the steps themselves.
    flag("--skip", "0".to_string());
    if training.trained == Trained::Adapters {
        flag("--lora", format!("{LORA_R},{LORA_ALPHA}"));
    }
    flags
}

fn read_training(out: &Path, training: &Training) -> Result<TrainingOutcome> {
    #[derive(Deserialize)]
    struct Line {
        step: u64,
        loss: f64,
        tokens: u64,
        seconds: f64,
    }
    #[derive(Deserialize)]
    struct PeakMemory {
        peak_memory_bytes: u64,
    }
    let steps: Vec<Step> = lines::<Line>(out)?
        .into_iter()
        .map(|line| Step {
            step: line.step,
            loss: line.loss,
            tokens: line.tokens,
            // It leaves a last batch that is not full out.
            questions: training.batch_size as u64,
            seconds: line.seconds,
        })
        .collect();
    if steps.len() != training.steps {
        return Err(miette!(
            help = format!("the whole log is in {}", out.display()),
            "the peer took {} steps instead of {}",
            steps.len(),
            training.steps
        ));
    }
    Ok(TrainingOutcome {
        peak_memory_bytes: Some(last::<PeakMemory>(out)?.peak_memory_bytes),
        steps,
    })
}

/// The last line of a log that is of a kind.
fn last<T: DeserializeOwned>(out: &Path) -> Result<T> {
    lines(out)?.pop().ok_or_else(|| {
        miette!(
            help = format!("the whole log is in {}", out.display()),
            "the peer printed no summary"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::{Case, Extent, Program};
    use crate::bench::record::EvaluationOutcome;

    fn training(case: Case) -> Training {
        match case.job(&Extent::SMOKE, Program::Peer) {
            Job::Training(training) => training,
            Job::Evaluation { .. } => panic!("{case:?} trains"),
        }
    }

    #[test]
    fn steps_and_memory_are_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("peer.out");
        let line = |step| {
            format!(
                "{{\"step\": {step}, \"loss\": 2.5, \"prompt_loss\": 2.8, \"completion_loss\": 3.1, \"grad_norm\": 6.2, \
                 \"lr\": 0.0002, \"tokens\": 1335, \"seconds\": 14.5}}\n"
            )
        };
        let summary = "{\"summary\": true, \"steps_timed\": 3, \"tokens_per_second\": 92.0}\n";
        let memory = "{\"peak_memory_bytes\": 6100000000}\n";
        let write = |text: String| std::fs::write(&path, text).expect("written");
        let all = [1, 2, 3, 4].map(line).concat();
        write(all.clone() + summary + memory);
        let read = read_training(&path, &training(Case::FullBatch4)).expect("complete");
        assert_eq!(read.peak_memory_bytes, Some(6_100_000_000));
        assert_eq!((read.steps.len(), read.steps[3].questions), (4, 4));
        write([line(1), line(2)].concat() + summary + memory);
        let report = read_training(&path, &training(Case::FullBatch4)).expect_err("short");
        let report = format!("{report:?}");
        assert!(report.contains("2 steps instead of 4") && report.contains("peer.out"));
        write(all + summary);
        read_training(&path, &training(Case::FullBatch4)).expect_err("no memory");
    }

    #[test]
    fn an_evaluations_summary_is_told_from_its_answers() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("peer.out");
        let text = "{\"example_id\": \"middle1.txt\", \"answer\": \"A\", \"choice\": \"A\", \"logits\": [1, 2, 3, 4]}\n\
            {\"summary\": true, \"accuracy\": 0.41, \"questions\": 100, \"tokens_per_second\": 500.5, \"questions_per_second\": 1.4}\n\
            {\"peak_memory_bytes\": 1}\n";
        std::fs::write(&path, text).expect("written");
        let read: EvaluationOutcome = last(&path).expect("there");
        assert_eq!((read.questions, read.questions_per_second), (100, 1.4));
    }

    #[test]
    fn adapters_are_asked_for_where_they_are_trained() {
        assert!(training_flags(&training(Case::LoraZero)).contains(&"16,32".to_string()));
        let flags = training_flags(&training(Case::FullBatch4)).join(" ");
        assert!(
            flags.contains("--plw 0.1 --lr 0.0002 --weight-decay 0.001 --clip 0.3"),
            "{flags}"
        );
        assert!(!flags.contains("--lora"), "{flags}");
    }
}
