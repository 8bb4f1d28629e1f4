//! Signals that ask a run to stop, and those that were ignored before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::smoke::Smoke;

/// Starts a command whose run a signal finds at work, in a shell that may first ignore one.
fn started(smoke: &Smoke, line: &str, run: &str, ignore: &str) -> Child {
    let plw = smoke.plw(line);
    let mut shell = Command::new("sh");
    let script = format!("{ignore} exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(plw.get_program());
    shell.args(plw.get_args()).current_dir(smoke.path("."));
    for (name, _) in plw.get_envs().filter(|(_, value)| value.is_none()) {
        shell.env_remove(name);
    }
    shell
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = shell.spawn().expect("sh runs");
    while !fs::read(metrics(&smoke.path(run))).is_ok_and(|log| log.contains(&b'\n')) {
        let ended = child.try_wait().expect("it can be asked");
        assert!(ended.is_none(), "it ended before its first step: {ended:?}");
        sleep(Duration::from_millis(1));
    }
    child
}

/// The metrics of a run, or of the attempt that a sweep makes at it.
fn metrics(run: &Path) -> PathBuf {
    let name = run.file_name().expect("a name");
    let attempts = fs::read_dir(run.join("attempts")).into_iter().flatten();
    let attempt = attempts.flatten().next();
    let directory = attempt.map_or(run.to_path_buf(), |attempt| attempt.path().join(name));
    directory.join("metrics.jsonl")
}

fn send(child: &Child, signal: Signal) {
    let process = i32::try_from(child.id()).expect("an identifier");
    kill(Pid::from_raw(process), signal).expect("it is there");
}

#[test]
fn signals_stop_at_a_checkpoint_unless_they_were_ignored() {
    let smoke = Smoke::new();
    // One that was ignored before the tests started cannot be taken back from a shell.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let is_ignored = |signal: Signal| mask.unwrap_or(0) & (1 << (signal as u32 - 1)) != 0;
    for (ignored, signal, code) in [
        ("", Signal::SIGHUP, 129),
        ("", Signal::SIGINT, 130),
        ("", Signal::SIGTERM, 75),
        ("", Signal::SIGUSR1, 75),
        ("trap '' HUP;", Signal::SIGTERM, 75),
        ("trap '' HUP;", Signal::SIGHUP, 0),
        ("trap '' INT;", Signal::SIGINT, 0),
    ] {
        if is_ignored(signal) && code != 0 {
            continue;
        }
        let run = format!("{signal}-{}", ignored.len());
        let line = format!(
            "train --config smoke.toml --max-steps 200 --logging-steps 1 --output-dir {run}"
        );
        let child = started(&smoke, &line, &run, ignored);
        send(&child, signal);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(code), "{ignored} {signal}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("Ctrl-C"), code == 130, "{signal}: {said}");
        assert_eq!(said.contains("continue with --resume"), code != 0, "{said}");
        assert!(smoke.path(&run).join("checkpoints/latest").is_file());
    }
}

#[test]
fn a_sweep_stops_with_its_run_and_is_continued_by_its_own_command() {
    let smoke = Smoke::new();
    let preset = fs::read_to_string(smoke.path("smoke.toml")).expect("there");
    let longer = preset.replace("max_steps = 6", "max_steps = 200");
    assert_ne!(longer, preset);
    fs::write(smoke.path("long.toml"), longer).expect("written");
    let line = "sweep --config long.toml --seeds 1 --prompt-loss-weight 0 --output-dir sweep";
    let child = started(&smoke, line, "sweep/seed-1_plw-0", "");
    send(&child, Signal::SIGTERM);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(75));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("continue with the same command"), "{said}");
    assert!(!said.contains("--resume"), "{said}");
}
