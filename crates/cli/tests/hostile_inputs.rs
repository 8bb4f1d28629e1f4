//! A model, an adapter or a length of training that makes no sense is refused, and the error names
//! what is wrong.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use plw_data::{Question, write_questions};
use serde_json::{Value, json};

/// A tokenizer of 640 tokens, and the configuration of its model.
const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets");

/// Whether plw succeeds, and what it prints: results and logs.
fn plw(folder: &Path, arguments: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_plw"))
        .current_dir(folder)
        .args(["--log-format", "json"])
        .args(arguments.split(' '))
        .args(["--init-config", "config.json", "--tokenizer", ASSETS])
        .args(["--train-data", "train.parquet", "--chat-template", "none"])
        .stdin(Stdio::null())
        .output()
        .expect("plw runs");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.success(), printed)
}

/// Writes questions, and the configuration with some keys changed.
fn prepare(folder: &Path, changes: &Value) {
    let text = fs::read_to_string(Path::new(ASSETS).join("config.json")).expect("committed");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    for (key, value) in changes.as_object().expect("keys and values") {
        config[key] = value.clone();
    }
    fs::write(folder.join("config.json"), config.to_string()).expect("written");
    let question = |row| Question {
        file: "train.parquet".into(),
        row,
        example_id: "middle1.txt".into(),
        level: "middle".into(),
        article: Some("On Monday Anna bought six lamps in Oslo.".into()),
        question: "Who bought lamps?".into(),
        options: ["Carl", "Anna", "Olga"].map(str::to_owned).into(),
        answer: 1,
        columns: Default::default(),
    };
    write_questions(&folder.join("train.parquet"), (0..6).map(question)).expect("written");
}

#[test]
fn a_plan_refuses_what_training_refuses() {
    let giant = json!({"hidden_size": 1 << 20, "intermediate_size": 1 << 20, "head_dim": 1 << 18,
        "num_hidden_layers": 1 << 20});
    for (changes, arguments, succeeds, says) in [
        (json!({}), "plan", true, "tokenized examples"),
        (json!({"vocab_size": 40}), "plan", false, "vocabulary of 40"),
        (
            json!({"max_position_embeddings": 16}),
            "plan",
            true,
            "6 of 6 examples have more tokens than the model's max_position_embeddings, 16",
        ),
        (
            json!({"pad_token_id": "x"}),
            "plan",
            false,
            "config.json: `pad_token_id`",
        ),
        (
            giant.clone(),
            "plan",
            false,
            "the greatest is `num_hidden_layers` (1048576)",
        ),
        (
            giant,
            "train --output-dir run",
            false,
            "the greatest is `num_hidden_layers` (1048576)",
        ),
        (
            json!({}),
            "plan --num-train-epochs 1e-300",
            false,
            "the run has no step",
        ),
        (
            json!({}),
            "plan --json --max-steps 1000000000000",
            true,
            r#""steps":1000000000000,"steps_laid_out":262144,"#,
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary directory");
        prepare(folder.path(), &changes);
        let (succeeded, printed) = plw(folder.path(), arguments);
        assert!(
            succeeded == succeeds && printed.contains(says),
            "{arguments}: {printed}"
        );
    }
}

#[test]
#[cfg(unix)]
fn a_configuration_without_an_end_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    prepare(folder.path(), &json!({}));
    let config = folder.path().join("config.json");
    fs::remove_file(&config).expect("there");
    std::os::unix::fs::symlink("/dev/zero", &config).expect("linked");
    for arguments in ["plan", "train --output-dir run"] {
        let (succeeded, printed) = plw(folder.path(), arguments);
        let says = "cannot read config.json: it is not a regular file";
        assert!(
            !succeeded && printed.contains(says),
            "{arguments}: {printed}"
        );
    }
}

#[test]
fn settings_beside_an_adapter_must_be_its_own() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    prepare(folder.path(), &json!({}));
    let lora = "--lora-r 2 --lora-alpha 4 --lora-target-modules q_proj,v_proj";
    let train = format!("train --max-steps 1 --output-dir run {lora}");
    let (succeeded, printed) = plw(folder.path(), &train);
    assert!(succeeded, "{printed}");
    for (given, succeeds, says) in [
        ("", true, "peak"),
        (" --lora-r 2", true, "peak"),
        (" --lora-target-modules q_proj,v_proj", true, "peak"),
        (" --lora-r 3", false, "lora_r was 2, is 3"),
        (" --lora-alpha 16", false, "lora_alpha was 4.0, is 16.0"),
        (
            " --lora-target-modules q_proj",
            false,
            "lora_target_modules was",
        ),
    ] {
        let plan = format!("plan --init-adapter run/checkpoints/step-1{given}");
        let (succeeded, printed) = plw(folder.path(), &plan);
        assert!(
            succeeded == succeeds && printed.contains(says),
            "{given}: {printed}"
        );
    }
}
