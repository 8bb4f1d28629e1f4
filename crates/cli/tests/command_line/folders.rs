//! Folders that something else is in, or that another process fills.

use std::fs::{self, File};

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
    for (folder, command) in [
        ("new", "data synth --config data.toml --output-dir new"),
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
