//! A killed run, when resumed, produces the same bits as one that was never killed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Map, Value};

const STAGE: &str = "
seed = 1
rows = 200
wordings = 4
high_share = 0.0
facts = [1, 2]
attributes = [1, 2]
questions = 1
event_share = 0.0
hard_share = 0.0
difficulty = 0.0
recap_share = 0.0
forms = [1.0, 1.0, 1.0, 1.0]
[exercises]
share = 0.5
count = 1
naming_share = 0.5
few_words_share = 0.5
others = [0, 2]
";

const MODEL: &str = r#"{"model_type": "llama", "vocab_size": 640, "hidden_size": 16,
    "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "tie_word_embeddings": true, "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5}"#;

const STEPS: usize = 40;

fn plw() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plw"));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Writes text, a tokenizer and a model's configuration.
fn prepare(folder: &Path) {
    fs::write(folder.join("stage.toml"), STAGE).expect("written");
    fs::write(folder.join("config.json"), MODEL).expect("written");
    for arguments in [
        "data pretraining-text --config stage.toml --out text",
        "data tokenizer --text text --vocab-size 640 --out tokenizer",
    ] {
        let made = plw()
            .current_dir(folder)
            .args(arguments.split(' '))
            .output()
            .expect("plw runs");
        assert!(made.status.success(), "{arguments}");
    }
}

fn train(folder: &Path, run: &str) -> Child {
    let steps = STEPS.to_string();
    plw()
        .current_dir(folder)
        .args(["train", "--init-config", "config.json", "--text", "text"])
        .args(["--tokenizer", "tokenizer", "--max-length", "512"])
        .args(["--per-device-train-batch-size", "4", "--max-steps", &steps])
        .args(["--logging-steps", "1", "--save-steps", "3", "--seed", "7"])
        .args(["--learning-rate", "1e-3", "--output-dir", run, "--resume"])
        .spawn()
        .expect("plw runs")
}

/// The rows of a run's metrics without their times.
fn metrics(folder: &Path, run: &str) -> Vec<Map<String, Value>> {
    let text = fs::read_to_string(folder.join(run).join("metrics.jsonl")).expect("written");
    text.lines()
        .map(|line| {
            let mut row: Map<String, Value> = serde_json::from_str(line).expect("a whole row");
            row.remove("seconds");
            row
        })
        .collect()
}

fn logged_steps(folder: &Path, run: &str) -> usize {
    let text = fs::read(folder.join(run).join("metrics.jsonl")).unwrap_or_default();
    text.iter().filter(|&&byte| byte == b'\n').count()
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = folder.path();
    prepare(folder);
    assert!(train(folder, "whole").wait().expect("it ends").success());

    // Before the first checkpoint, right after one, between two, and while steps pass at any
    // moment.
    let mut kills = 0;
    for step in [1, 3, 4, 5, 8, 12, 13, 20, 27, 36] {
        let mut child = train(folder, "killed");
        while child.try_wait().expect("it can be asked").is_none() {
            if logged_steps(folder, "killed") >= step {
                child.kill().expect("it can be killed");
                kills += 1;
                break;
            }
            sleep(Duration::from_millis(1));
        }
        child.wait().expect("it ends");
    }
    assert!(kills > 5, "only {kills} runs were killed in time");
    assert!(train(folder, "killed").wait().expect("it ends").success());

    let expected = metrics(folder, "whole");
    assert_eq!(expected.len(), STEPS);
    assert_eq!(metrics(folder, "killed"), expected);
    let weights = |run: &str| {
        let name = format!("{run}/checkpoints/step-{STEPS}/model.safetensors");
        fs::read(folder.join(name)).expect("saved")
    };
    assert!(weights("killed") == weights("whole"));
}
