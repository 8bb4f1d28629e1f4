//! What is missing, changed or in the way is named, with what to do about it.

use std::fs;
use std::process::Command;

use crate::smoke::{Smoke, failed, succeeded};
use crate::sweeps::code;

const TRAIN: &str = "-q train --config smoke.toml --max-steps 1 --output-dir";

fn shell(smoke: &Smoke, script: &str) {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(smoke.path("."));
    assert!(command.status().expect("sh runs").success(), "{script}");
}

#[test]
fn a_damaged_run_says_what_to_do() {
    let smoke = Smoke::new();
    succeeded(&smoke.run(&format!("{TRAIN} run")));
    fs::remove_file(smoke.path("run/summary.json")).expect("there");
    for (damage, says, exits_with) in [
        (
            "rm checkpoints/step-1/trainer_state/state.json",
            "state.json: No such file or directory (os error 2); remove the checkpoint",
            78,
        ),
        (
            "echo '{' > checkpoints/step-1/trainer_state/state.json",
            "remove the checkpoint to resume from the one before it",
            78,
        ),
        (
            "echo > checkpoints/step-1/model.safetensors",
            "its digest is another; remove the checkpoint",
            78,
        ),
        (
            "rm -r checkpoints; echo > checkpoints",
            "checkpoints: File exists (os error 17); a file is where a folder should be",
            1,
        ),
        (
            "rm checkpoints/latest; mkdir checkpoints/latest",
            "latest: is a directory; a folder is where a file should be",
            1,
        ),
        (
            "echo '[' > config.toml",
            "config.toml holds no settings: put it back",
            78,
        ),
        (
            "printf '\\377' > config.toml",
            "config.toml holds no settings: put it back",
            78,
        ),
    ] {
        shell(
            &smoke,
            &format!("rm -rf damaged; cp -r run damaged; cd damaged; {damage}"),
        );
        let output = smoke.run(&format!("{TRAIN} damaged --resume"));
        let said = failed(&output);
        assert!(said.contains(says), "{damage}: {said}");
        assert_eq!(code(&output), Some(exits_with), "{damage}");
    }
    shell(&smoke, "cp questions/high/test-0* questions/high/train-0*");
    let said = failed(&smoke.run(&format!("{TRAIN} run --resume")));
    assert!(
        said.contains("run holds another run: the files of `train_data` have changed"),
        "{said}"
    );
}

#[test]
fn what_is_no_file_or_folder_is_called_what_it_is() {
    let smoke = Smoke::new();
    shell(
        &smoke,
        "mkfifo pipe; mkdir runs locked; mkfifo locked/.lock",
    );
    for (line, says) in [
        (
            "plan --config smoke.toml --train-data pipe",
            "pipe is a device, a pipe or a socket",
        ),
        (
            "plan --config smoke.toml --train-data none",
            "none does not exist",
        ),
        (
            "plan --config smoke.toml --model /dev/null",
            "/dev/null, which `model` names, is not a folder",
        ),
        (
            "plan --config /dev/null/none",
            "there is no file /dev/null/none",
        ),
        ("plan --config /dev/null", "it is not a regular file"),
        (
            "train --config smoke.toml --max-steps 1 --output-dir locked",
            "cannot lock locked/.lock: it is not a regular file: remove it",
        ),
        ("report smoke.toml", "smoke.toml is not a folder"),
        ("report none", "there is no folder none"),
    ] {
        let said = failed(&smoke.run(line));
        assert!(said.contains(says), "{line}: {said}");
    }
    succeeded(&smoke.run(&format!("{TRAIN} runs/one")));
    let said = failed(&smoke.run("report runs --output-dir smoke.toml"));
    assert!(
        said.contains("a file is where a folder should be"),
        "{said}"
    );
    assert!(smoke.path("smoke.toml").is_file());
}

#[test]
fn files_that_cannot_be_used_end_every_command_that_reads_them_for_good() {
    let smoke = Smoke::new();
    for line in [
        "report none",
        "report smoke.toml",
        "data synth --config missing.toml --output-dir new",
        "data synth --config smoke.toml --output-dir new",
        "data pretraining-text --config missing.toml --output-dir new",
    ] {
        let output = smoke.run(line);
        assert_eq!(code(&output), Some(78), "{line}: {}", failed(&output));
    }
    fs::write(smoke.path("bad.jsonl"), "{\n").expect("written");
    for command in [
        "train --config smoke.toml --output-dir run --train-data",
        "plan --config smoke.toml --train-data",
        "eval --config smoke.toml --output-dir eval --data",
        "inspect --config smoke.toml --data",
        "ratio --config smoke.toml",
    ] {
        for data in ["nowhere.jsonl", "bad.jsonl"] {
            let output = smoke.run(&format!("{command} {data}"));
            assert_eq!(
                code(&output),
                Some(78),
                "{command} {data}: {}",
                failed(&output)
            );
        }
    }
}
