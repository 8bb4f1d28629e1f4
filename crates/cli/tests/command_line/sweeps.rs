//! Sweeps whose runs are done by several workers: what each is told, and what becomes of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value};

use crate::smoke::{Smoke, failed, succeeded};

/// A sweep of two runs.
pub(crate) const SWEEP: &str = "sweep --config smoke.toml --seeds 1 --output-dir";

/// The name of its first.
pub(crate) const RUN: &str = "seed-1_plw-0";

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// Makes a preset of runs that take a while, with a checkpoint every ten steps.
fn write_longer(smoke: &Smoke, steps: u32) {
    let preset = fs::read_to_string(smoke.path("smoke.toml")).expect("there");
    let longer = preset.replace(
        "max_steps = 6",
        &format!("max_steps = {steps}\nsave_steps = 10\nlogging_steps = 1"),
    );
    assert_ne!(longer, preset);
    fs::write(smoke.path("smoke.toml"), longer).expect("written");
}

fn start(smoke: &Smoke, line: &str) -> Child {
    let mut plw = smoke.plw(line);
    plw.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    plw.spawn().expect("plw runs")
}

fn send(child: &Child, signal: Signal) {
    let process = i32::try_from(child.id()).expect("an identifier");
    kill(Pid::from_raw(process), signal).expect("it is there");
}

/// The folders of a run's attempts.
fn attempts(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("attempts")).into_iter().flatten();
    let mut attempts: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    attempts.sort();
    attempts
}

/// Waits until an attempt has logged a step.
fn wait_for_step(run: &Path, number: &str, step: usize) {
    let name = run.file_name().expect("a name");
    for _ in 0..6000 {
        let of_number = |path: &PathBuf| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            name.starts_with(&format!("{number}-"))
        };
        let attempt = attempts(run).into_iter().find(of_number);
        let log = attempt.map(|attempt| attempt.join(name).join("metrics.jsonl"));
        let rows = log.and_then(|log| fs::read(log).ok()).unwrap_or_default();
        if rows.iter().filter(|&&byte| byte == b'\n').count() >= step {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!(
        "attempt {number} at {} has not come to step {step}",
        run.display()
    );
}

/// The events of a run.
pub(crate) fn events(run: &Path) -> Vec<String> {
    let names = (1..).map(|number| run.join(format!("events/{number:06}.json")));
    let texts = names.map_while(|path| fs::read_to_string(path).ok());
    let event = |text: String| {
        let event: Value = serde_json::from_str(&text).expect("JSON");
        event["event"].as_str().expect("text").to_string()
    };
    texts.map(event).collect()
}

/// What a run comes to, but for its times: its metrics and its weights.
fn result(run: &Path) -> (Vec<Map<String, Value>>, Vec<u8>) {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("written");
    let rows = text.lines().map(|line| {
        let mut row: Map<String, Value> = serde_json::from_str(line).expect("a whole row");
        row.remove("seconds");
        row
    });
    let latest = fs::read_to_string(run.join("checkpoints/latest")).expect("written");
    let checkpoint = run.join("checkpoints").join(latest.trim());
    let weights = fs::read(checkpoint.join("model.safetensors")).expect("written");
    (rows.collect(), weights)
}

#[test]
fn exit_codes_tell_a_scheduler_whether_to_try_again() {
    let smoke = Smoke::new();
    let exit = |line: &str| code(&smoke.run(&format!("{SWEEP} codes {line}")));
    assert_eq!(exit("--index 2"), Some(78), "there is no such run");
    assert_eq!(exit("--prompt-loss-weight -1"), Some(78));
    assert_eq!(exit("--index x"), Some(2));
    assert_eq!(exit("--submit kubernetes --print"), Some(78), "no image");
    assert_eq!(exit("--submit local --workers 0"), Some(78));
    assert!(!smoke.path("codes/sweep.json").exists());
    let by_variable = |name: &str, value: &str| {
        let mut plw = smoke.plw(&format!("{SWEEP} codes"));
        plw.env(name, value);
        plw.output().expect("plw runs")
    };
    for (name, value) in [
        ("PLW_DEVICE", "metal"),
        ("PLW_TEXT", "a.txt"),
        ("PLW_TRAIN_DATA", "nowhere.jsonl"),
        ("PLW_MAX_LENGTH", "3"),
        ("PLW_CHAT_TEMPLATE", "nowhere.jinja"),
    ] {
        let mut plw = smoke.plw(&format!("{SWEEP} {name} --index 0"));
        let output = plw.env(name, value).output().expect("plw runs");
        assert_eq!(code(&output), Some(78), "{name}: {}", failed(&output));
    }
    let said = failed(&by_variable("PBS_ARRAY_INDEX", "one"));
    assert!(said.contains("PBS_ARRAY_INDEX is \"one\""));
    for (name, index) in [("SLURM_ARRAY_TASK_ID", "1"), ("JOB_COMPLETION_INDEX", "0")] {
        succeeded(&by_variable(name, index));
    }
    assert!(smoke.path("codes").join(RUN).join("summary.json").exists());
    assert!(
        smoke.path("codes/report.html").exists(),
        "the last one makes the report"
    );
    let status = succeeded(&smoke.run("sweep --status codes"));
    assert!(status.contains("2 runs: 2 complete"), "{status}");
    let status = succeeded(&smoke.run("sweep --status codes --index 1"));
    assert!(status.contains("1 run: 1 complete"), "{status}");
    fs::remove_file(smoke.path("codes").join(RUN).join("summary.json")).expect("there");
    let exit = |index| code(&smoke.run(&format!("sweep --status codes --index {index}")));
    assert_eq!((exit(0), exit(1), exit(2)), (Some(75), Some(0), Some(78)));
    assert!(failed(&smoke.run("sweep --status elsewhere")).contains("holds no sweep"));

    let preset = fs::read_to_string(smoke.path("smoke.toml")).expect("there");
    let text = format!("{preset}\n[cluster.slurm]\npartitoin = 'gpu'\n");
    fs::write(smoke.path("typo.toml"), text).expect("written");
    let line = "sweep --config typo.toml --output-dir codes --submit slurm --print";
    let output = smoke.run(line);
    assert_eq!(code(&output), Some(78));
    assert!(failed(&output).contains("partitoin"));
}

#[test]
fn a_run_that_is_asked_for_again_is_done_once() {
    let smoke = Smoke::new();
    for index in [1, 0, 1] {
        succeeded(&smoke.run(&format!("-q {SWEEP} any --index {index}")));
    }
    succeeded(&smoke.run(&format!("-q {SWEEP} any")));
    for name in [RUN, "seed-1_plw-0.1"] {
        assert_eq!(
            events(&smoke.path("any").join(name)),
            ["started", "complete"]
        );
    }
    let whole: Vec<_> = [RUN, "seed-1_plw-0.1"]
        .map(|n| result(&smoke.path("any").join(n)))
        .into();
    succeeded(&smoke.run(&format!("-q {SWEEP} local --submit local --workers 2")));
    for (name, whole) in [RUN, "seed-1_plw-0.1"].into_iter().zip(whole) {
        assert_eq!(result(&smoke.path("local").join(name)), whole);
    }
    assert!(smoke.path("local/logs/worker-2.log").exists());
    assert!(smoke.path("local/report.html").exists());
}

#[test]
fn a_dead_workers_run_is_taken_over_and_a_living_ones_is_not() {
    let smoke = Smoke::new();
    write_longer(&smoke, 200);
    succeeded(&smoke.run(&format!("-q {SWEEP} whole --index 0")));
    let whole = result(&smoke.path("whole").join(RUN));

    let line = format!("-q {SWEEP} grid --index 0 --lease-seconds 2");
    let run = smoke.path("grid").join(RUN);
    let mut first = start(&smoke, &line);
    wait_for_step(&run, "1", 12);
    send(&first, Signal::SIGSTOP);
    sleep(Duration::from_millis(300));
    send(&first, Signal::SIGCONT);
    assert_eq!(code(&smoke.run(&line)), Some(75), "the first is at work");
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    let status = succeeded(&smoke.run("sweep --status grid"));
    assert!(status.contains("silent"), "{status}");

    // The second is stopped for longer than its lease, and the third does not wait for it.
    let second = start(&smoke, &line);
    wait_for_step(&run, "2", 32);
    send(&second, Signal::SIGSTOP);
    let third = start(&smoke, &line);
    let third = third.wait_with_output().expect("it ends");
    succeeded(&third);
    send(&second, Signal::SIGCONT);
    let second = second.wait_with_output().expect("it ends");
    assert_eq!(code(&second), Some(75), "it has published nothing");
    assert_eq!(events(&run), ["started", "started", "started", "complete"]);
    assert_eq!(result(&run), whole);
}

#[test]
fn a_worker_that_must_stop_leaves_a_checkpoint_in_time() {
    let smoke = Smoke::new();
    write_longer(&smoke, 200);
    succeeded(&smoke.run(&format!("-q {SWEEP} whole --index 0")));
    let line = format!("{SWEEP} grid --index 0");
    let run = smoke.path("grid").join(RUN);
    for (attempt, step, limit, signal) in [
        ("1", 11, "", Signal::SIGUSR1),
        ("2", 31, "--stop-within 0", Signal::SIGTERM),
        ("3", 51, "--stop-within 100", Signal::SIGTERM),
    ] {
        let child = start(&smoke, &format!("{line} {limit}"));
        wait_for_step(&run, attempt, step);
        send(&child, signal);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(code(&output), Some(75), "attempt {attempt}");
        let status = succeeded(&smoke.run("sweep --status grid"));
        assert!(
            status.contains("stopped") && status.contains(signal.as_str()),
            "{status}"
        );
    }
    succeeded(&smoke.run(&format!("-q {line}")));
    assert_eq!(result(&run), result(&smoke.path("whole").join(RUN)));
}

#[test]
fn workers_that_go_through_the_grid_at_once_share_it() {
    let smoke = Smoke::new();
    let line = format!("-q {SWEEP} both");
    let workers = [start(&smoke, &line), start(&smoke, &line)];
    for worker in workers {
        succeeded(&worker.wait_with_output().expect("it ends"));
    }
    for name in [RUN, "seed-1_plw-0.1"] {
        assert_eq!(
            events(&smoke.path("both").join(name)),
            ["started", "complete"]
        );
    }
}

#[test]
fn a_run_that_train_began_is_continued_in_its_place() {
    let smoke = Smoke::new();
    write_longer(&smoke, 40);
    let train = format!("-q train --config smoke.toml --seed 1 --output-dir grid/{RUN}");
    let train = format!("{train} --prompt-loss-weight 0");
    let child = start(&smoke, &train);
    let run = smoke.path("grid").join(RUN);
    while !run.join("checkpoints/latest").exists() {
        sleep(Duration::from_millis(5));
    }
    // It does not move on meanwhile, but is there.
    send(&child, Signal::SIGSTOP);
    let second = smoke.run(&format!("{SWEEP} grid --index 0"));
    assert_eq!(code(&second), Some(75), "{second:?}");
    send(&child, Signal::SIGCONT);
    send(&child, Signal::SIGTERM);
    child.wait_with_output().expect("it ends");
    succeeded(&smoke.run(&format!("-q {SWEEP} grid --index 0")));
    assert!(run.join("summary.json").exists() && events(&run).is_empty());

    // But train does not begin where workers make attempts.
    let line = format!("{SWEEP} other --index 0");
    let child = start(&smoke, &line);
    wait_for_step(&smoke.path("other").join(RUN), "1", 1);
    let said = failed(&smoke.run(&train.replace("grid", "other")));
    assert!(said.contains("attempts"));
    send(&child, Signal::SIGTERM);
    child.wait_with_output().expect("it ends");
}

#[test]
fn a_failed_run_does_not_end_the_sweep_and_is_tried_again() {
    let smoke = Smoke::new();
    let preset = fs::read_to_string(smoke.path("smoke.toml")).expect("there");
    let rates = preset.replace("[sweep]", "[sweep]\nlearning_rate = [1e30, 1e-3]");
    fs::write(smoke.path("rates.toml"), rates).expect("written");
    let line = "sweep --config rates.toml --seeds 1 --prompt-loss-weight 0 --output-dir grid";
    for attempt in 1..=2 {
        let said = failed(&smoke.run(line));
        assert!(said.contains("1 of 2 runs failed"));
        let status = succeeded(&smoke.run("sweep --status grid --json"));
        let runs: Value = serde_json::from_str(&status).expect("JSON");
        let states: Vec<&Value> = runs.as_array().expect("a list").iter().collect();
        assert_eq!(states[0]["state"], "failed");
        assert_eq!(states[0]["attempts"], attempt);
        assert_eq!(states[1]["state"], "complete");
        assert!(
            states[0]["reason"]
                .as_str()
                .is_some_and(|why| why.contains("NaN"))
        );
    }
}

#[test]
fn a_damaged_event_ends_its_run_for_good() {
    let smoke = Smoke::new();
    let line = format!("-q {SWEEP} grid --prompt-loss-weight 0");
    let events = smoke.path("grid").join(RUN).join("events");
    fs::create_dir_all(&events).expect("made");
    fs::write(events.join("000001.json"), "{").expect("written");
    for how in ["--index 0", "", "--submit local"] {
        let output = smoke.run(&format!("{line} {how}"));
        let said = failed(&output);
        assert_eq!(code(&output), Some(78), "{how}: {said}");
        let is_named = said.contains("events/000001.json is no event of a run");
        assert!(
            is_named && said.contains("remove the run's folder"),
            "{said}"
        );
    }
}

#[test]
fn a_sweep_whose_runs_all_fail_for_good_says_so() {
    let smoke = Smoke::new();
    let mut plw = smoke.plw(&format!("{SWEEP} grid"));
    let output = plw.env("PLW_TRAIN_DATA", "nowhere.jsonl").output();
    let output = output.expect("plw runs");
    assert_eq!(code(&output), Some(78));
    let said = failed(&output);
    assert!(
        said.contains("2 of 2 runs failed: seed-1_plw-0 (nowhere.jsonl does not exist"),
        "{said}"
    );
    let mut plw = smoke.plw(&format!("{SWEEP} local --submit local"));
    let output = plw.env("PLW_TRAIN_DATA", "nowhere.jsonl").output();
    assert_eq!(code(&output.expect("plw runs")), Some(78));
}
