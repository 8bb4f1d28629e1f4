//! Where standard output and standard error end, and what reaches them.

use std::process::Stdio;

use crate::smoke::{Smoke, failed, succeeded};

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let smoke = Smoke::new();
    for line in [
        "plan --config smoke.toml",
        "plan --config smoke.toml --json",
        "inspect --config smoke.toml --color always",
        "sweep --config smoke.toml --output-dir sweep --list",
        "data synth --config data.toml --output-dir more --seed 3",
    ] {
        let mut command = smoke.plw(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("plw runs");
        drop(child.stdout.take());
        succeeded(&child.wait_with_output().expect("it ends"));
    }
    // Nor does a log that nobody reads change what a command does.
    let mut command = smoke.plw("plan --config smoke.toml");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("plw runs");
    drop(child.stderr.take());
    let printed = succeeded(&child.wait_with_output().expect("it ends"));
    assert!(printed.contains("steps"), "{printed}");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let smoke = Smoke::new();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let mut command = smoke.plw("plan --config smoke.toml");
    command.stdout(full).stderr(Stdio::piped());
    let child = command.spawn().expect("plw runs");
    let said = failed(&child.wait_with_output().expect("it ends"));
    assert!(said.contains("cannot write to standard output"), "{said}");
}

#[test]
fn control_characters_of_data_do_not_reach_a_terminal() {
    let smoke = Smoke::new();
    let template = "\u{1b}[31mRead\r{article} {question} {options}";
    for format in [vec![], vec!["--json"]] {
        let mut command = smoke.plw("inspect --config smoke.toml --examples 1");
        command.args(["--prompt-template", template]).args(&format);
        let printed = succeeded(&command.output().expect("plw runs"));
        assert!(printed.contains("\\u001b"), "{printed}");
        assert!(!printed.contains(['\u{1b}', '\r']), "{printed}");
    }
    let mut command = smoke.plw("plan --config no\u{1b}[31m.toml");
    let said = failed(&command.output().expect("plw runs"));
    assert!(said.contains("no\\u001b[31m.toml") && !said.contains("\u{1b}"));
    // The log of a source's name, too.
    let mut command = smoke.plw("plan --config smoke.toml");
    for data in ["--train-data", "--eval-data"] {
        command.args([data, "questions\u{1b}[31m"]);
    }
    std::fs::rename(smoke.path("questions"), smoke.path("questions\u{1b}[31m")).expect("moved");
    let output = command.output().expect("plw runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains("questions\\u001b[31m: ") && !log.contains('\u{1b}'),
        "{log}"
    );
}
