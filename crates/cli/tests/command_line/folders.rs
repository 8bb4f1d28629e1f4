//! Folders that something else is in, or that another process fills.

use std::fs::{self, File};

use serde_json::{Map, Value};

use crate::smoke::{Smoke, failed, succeeded};

const TRAIN: &str = "-q train --config smoke.toml --max-steps 1 --output-dir run";

#[test]
fn data_that_was_changed_is_neither_kept_nor_written_over() {
    let smoke = Smoke::new();
    let synth = "data synth --config data.toml --seed 2 --output-dir questions";
    let again = smoke.run(synth);
    succeeded(&again);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("holds this data already"), "{said}");
    let file = smoke.path("questions/high/train-00000-of-00001.parquet");
    let other = smoke.path("questions/high/validation-00000-of-00001.parquet");
    fs::copy(other, file).expect("copied");
    let said = failed(&smoke.run(synth));
    assert!(
        said.contains("exists already and would be overwritten"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn a_folder_that_another_process_fills_is_left_to_it() {
    let smoke = Smoke::new();
    let texts = ["Anna bought six lamps in Oslo."; 4];
    plw_data::write_text(&smoke.path("text.parquet"), texts).expect("written");
    for (folder, command) in [
        ("new", "data synth --config data.toml --output-dir new"),
        (
            "words",
            "data tokenizer --text text.parquet --vocab-size 260 --output-dir words",
        ),
        (
            "scores",
            "eval --config smoke.toml --data questions --output-dir scores",
        ),
    ] {
        let folder = smoke.path(folder);
        fs::create_dir(&folder).expect("made");
        let held = File::open(&folder).expect("there");
        held.try_lock().expect("nobody else has it");
        let said = failed(&smoke.run(command));
        assert!(said.contains("another process is writing to"), "{said}");
        drop(held);
        succeeded(&smoke.run(command));
    }
}

#[test]
fn evaluations_need_an_answer_to_look_at() {
    let smoke = Smoke::new();
    let said = failed(&smoke.run(&format!("{TRAIN} --completion-template x")));
    assert!(said.contains("{answer}"), "{said}");
}

#[test]
fn a_complete_run_whose_result_was_changed_is_not_called_complete() {
    let smoke = Smoke::new();
    succeeded(&smoke.run(TRAIN));
    let resume = format!("{TRAIN} --resume");
    succeeded(&smoke.run(&resume));
    let summary = smoke.path("run/summary.json");
    let whole = fs::read(&summary).expect("there");
    let mut keys: Map<String, Value> = serde_json::from_slice(&whole).expect("an object");
    // As an earlier version wrote it.
    keys.retain(|key, _| !["files", "digest"].contains(&key.as_str()));
    fs::write(&summary, Value::Object(keys).to_string()).expect("written");
    let output = smoke.run(&resume);
    succeeded(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("kept no digests"), "{said}");
    fs::write(&summary, whole).expect("written");
    let weights = smoke.path("run/checkpoints/step-1/model.safetensors");
    let mut bytes = fs::read(&weights).expect("there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).expect("written");
    let said = failed(&smoke.run(&resume));
    assert!(said.contains("model.safetensors"), "{said}");
    fs::write(smoke.path("run/summary.json"), "{}").expect("written");
    let said = failed(&smoke.run(&resume));
    assert!(said.contains("summary.json"), "{said}");
}

#[test]
fn a_sweep_skips_only_runs_that_are_as_they_were_written() {
    let smoke = Smoke::new();
    let sweep = "-q sweep --config smoke.toml --seeds 1 --prompt-loss-weight 0 --output-dir sweep";
    succeeded(&smoke.run(sweep));
    succeeded(&smoke.run(sweep));
    let run = smoke.path("sweep/seed-1_plw-0");
    for (record, from, to) in [
        ("predictions/step-6.parquet", "PAR1", "PAR2"),
        ("metrics.jsonl", "\"step\":1", "\"step\":2"),
        ("config.toml", "shuffle", "Shuffle"),
        ("summary.json", "\"questions\": ", "\"questions\": 1"),
        ("checkpoints/step-6/model.safetensors", "pt", "tf"),
    ] {
        let whole = fs::read(run.join(record)).expect("there");
        let place = whole
            .windows(from.len())
            .position(|part| part == from.as_bytes());
        let place = place.expect(from);
        let rest = &whole[place + from.len()..];
        let changed = [&whole[..place], to.as_bytes(), rest].concat();
        fs::write(run.join(record), changed).expect("written");
        let said = failed(&smoke.run(sweep));
        let name = record.rsplit('/').next().expect("a name");
        let is_named = said.contains(name) || said.contains("is another run");
        assert!(
            is_named && said.contains("remove sweep/seed-1_plw-0"),
            "{said}"
        );
        fs::write(run.join(record), whole).expect("written");
    }
    succeeded(&smoke.run(sweep));
}

#[test]
fn a_repeated_evaluation_says_that_its_results_were_changed() {
    let smoke = Smoke::new();
    let eval = "eval --config smoke.toml --data questions --output-dir scores";
    succeeded(&smoke.run(eval));
    let path = smoke.path("scores/predictions.parquet");
    let whole = fs::read(&path).expect("there");
    for (bytes, says) in [
        (whole.clone(), false),
        (b"other".to_vec(), true),
        (whole.clone(), false),
    ] {
        fs::write(&path, bytes).expect("written");
        let output = smoke.run(eval);
        succeeded(&output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("its digest is another"), says, "{said}");
        assert!(fs::read(&path).expect("there") == whole);
    }
}
