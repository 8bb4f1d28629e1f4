//! What is checked before data is tokenized, and what is read at all.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::smoke::{Smoke, failed, succeeded};

#[test]
fn what_can_fail_quickly_fails_before_data_is_tokenized() {
    let smoke = Smoke::new();
    let run = "train --config smoke.toml --max-steps 1";
    succeeded(&smoke.run(&format!("{run} --output-dir taken")));
    fs::create_dir(smoke.path("gpt")).expect("made");
    fs::write(smoke.path("gpt/config.json"), "{\"model_type\": \"gpt2\"}").expect("written");
    let assets = format!("--tokenizer {}/../../assets", env!("CARGO_MANIFEST_DIR"));
    for (flags, says) in [
        ("--output-dir taken", "holds a run already"),
        (
            "--output-dir smoke.toml/run",
            "results cannot be written to",
        ),
        ("--output-dir new --eval-data smoke.toml", "smoke.toml"),
        ("--output-dir new --test-data nowhere", "nowhere"),
        ("--output-dir new --prompt-template {nothing}", "nothing"),
        ("--output-dir new --chat-template no.jinja", "no.jinja"),
        ("--output-dir new --model taken", "taken/checkpoints/step-1"),
        ("--output-dir new --init-adapter gpt", "adapter_config.json"),
        (&format!("--output-dir new --model gpt {assets}"), "gpt2"),
        ("--output-dir new --limit 0", "`limit` is 0"),
    ] {
        let said = failed(&smoke.run(&format!("{run} {flags}")));
        assert!(said.contains(says), "{flags}: {said}");
        assert!(!said.contains("tokenizing"), "{flags}: {said}");
        assert!(!smoke.path("new").exists(), "{flags}");
    }
}

#[test]
fn examples_are_read_as_far_as_they_are_printed() {
    let smoke = Smoke::new();
    let damaged = smoke.path("questions/middle/train-00000-of-00001.parquet");
    fs::write(damaged, "not parquet").expect("written");
    let inspect = "inspect --config smoke.toml";
    let printed = succeeded(&smoke.run(&format!("{inspect} --examples 1")));
    assert!(
        printed.contains("answer") && !printed.contains("dropped as too long"),
        "{printed}"
    );
    failed(&smoke.run(inspect));
    let printed = succeeded(&smoke.run(&format!("{inspect} --split validation")));
    assert!(printed.contains("all: 46 examples"), "{printed}");
}

#[test]
fn data_that_was_made_already_is_left_alone() {
    let smoke = Smoke::new();
    let line = "data synth --config data.toml --seed 5 --output-dir more";
    let printed = succeeded(&smoke.run(line));
    assert!(printed.contains("questions\n"), "{printed}");
    let train = smoke.path("more/high/train-00000-of-00001.parquet");
    let made = fs::metadata(&train)
        .and_then(|file| file.modified())
        .expect("there");
    assert_eq!(succeeded(&smoke.run(line)), "");
    let now = fs::metadata(&train)
        .and_then(|file| file.modified())
        .expect("there");
    assert_eq!(made, now);
    let said = failed(&smoke.run("data synth --config data.toml --seed 6 --output-dir more"));
    assert!(said.contains("would be overwritten"), "{said}");
}

#[test]
fn what_is_asked_for_in_vain_is_said() {
    let smoke = Smoke::new();
    let rows = "questions/high/train-00000-of-00001.parquet";
    let copy = "--eval-data copy.parquet --max-steps 1 --output-dir seen";
    fs::copy(smoke.path(rows), smoke.path("copy.parquet")).expect("copied");
    let output = smoke.run(&format!(
        "train --config smoke.toml --train-data {rows} {copy}"
    ));
    succeeded(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("eval_data has a file of train_data"),
        "{said}"
    );
}

#[test]
fn a_plan_is_only_of_weights_that_fit() {
    let smoke = Smoke::new();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    fs::create_dir(smoke.path("model")).expect("made");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(assets.join(file), smoke.path("model").join(file)).expect("copied");
    }
    let config = smoke.path("model/config.json");
    let text = fs::read_to_string(&config).expect("there");
    let mut keys: Value = serde_json::from_str(&text).expect("JSON");
    let size = keys["intermediate_size"].as_u64().expect("a size");
    keys["intermediate_size"] = (size + 2).into();
    fs::write(&config, keys.to_string()).expect("written");
    let plan = "plan --config smoke.toml --chat-template none --model model";
    let said = failed(&smoke.run(plan));
    assert!(
        said.contains("mlp.gate_proj.weight") && !said.contains("tokenizing"),
        "{said}"
    );
    fs::write(&config, text).expect("written");
    succeeded(&smoke.run(plan));
}

#[test]
fn a_plan_for_a_gpu_counts_its_memory() {
    let smoke = Smoke::new();
    let output = smoke.run("plan --config smoke.toml --device metal:0");
    assert!(failed(&output).contains("there is no device `metal:0`"));
    let output = smoke.run("plan --config smoke.toml --device metal --json");
    let plan: serde_json::Value =
        serde_json::from_str(&succeeded(&output)).expect("one JSON object");
    assert_eq!(plan["gpu"]["weights"], plan["weights"]);
    let half = succeeded(&smoke.run("plan --config smoke.toml --device metal --bf16 true --json"));
    let half: serde_json::Value = serde_json::from_str(&half).expect("one JSON object");
    let activations = |plan: &serde_json::Value| plan["gpu"]["activations"].as_u64();
    let half = activations(&half).map(|bytes| 2 * bytes);
    assert!(half.is_some() && half == activations(&plan));
    let cpu = succeeded(&smoke.run("plan --config smoke.toml --json"));
    assert!(!cpu.contains("\"gpu\""), "{cpu}");
    let said = String::from_utf8_lossy(&output.stderr);
    if !cfg!(feature = "metal") {
        assert!(said.contains("without the device `metal`"), "{said}");
        assert!(plan.get("device_memory_bytes").is_none());
    }
}

#[test]
fn a_base_in_nf4_trains_adapters_and_nothing_else() {
    let smoke = Smoke::new();
    let said = failed(&smoke.run("train --config smoke.toml --dtype nf4 --output-dir all"));
    assert!(
        said.contains("dtype is for weights that are not trained"),
        "{said}"
    );
    let said = failed(&smoke.run("train --config smoke.toml --dtype nf5 --output-dir all"));
    assert!(said.contains("nf4"), "{said}");
    let adapters =
        "--lora-r 4 --lora-dropout 0.1 --lr-scheduler-type constant_with_warmup --warmup-ratio 0";
    let train = |dtype: &str, rest: &str| {
        let line = format!("-q train --config smoke.toml {adapters} --dtype {dtype} {rest}");
        succeeded(&smoke.run(&line));
    };
    train("float32", "--max-steps 4 --output-dir float32");
    train("nf4", "--max-steps 4 --output-dir nf4");
    let weights = |run: &str| {
        let path = smoke
            .path(run)
            .join("checkpoints/step-4/adapter_model.safetensors");
        std::fs::read(path).expect("written")
    };
    assert_ne!(weights("float32"), weights("nf4"));
    // A resumed run has the same bits on a base that is rounded again.
    train("nf4", "--max-steps 2 --output-dir again");
    train("nf4", "--max-steps 4 --output-dir again --resume");
    assert_eq!(weights("nf4"), weights("again"));
}
