//! Signals that ask a run to stop, and those that were ignored before.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::smoke::Smoke;

/// Starts a run that a signal finds at work, in a shell that may first ignore one.
fn started(smoke: &Smoke, run: &str, ignore: &str) -> Child {
    let line =
        format!("train --config smoke.toml --max-steps 200 --logging-steps 1 --output-dir {run}");
    let plw = smoke.plw(&line);
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
        .stderr(Stdio::null());
    let mut child = shell.spawn().expect("sh runs");
    let metrics = smoke.path(run).join("metrics.jsonl");
    while !fs::read(&metrics).is_ok_and(|log| log.contains(&b'\n')) {
        let ended = child.try_wait().expect("it can be asked");
        assert!(ended.is_none(), "it ended before its first step: {ended:?}");
        sleep(Duration::from_millis(1));
    }
    child
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
        ("", Signal::SIGHUP, 130),
        ("", Signal::SIGTERM, 130),
        ("trap '' HUP;", Signal::SIGTERM, 130),
        ("trap '' HUP;", Signal::SIGHUP, 0),
        ("trap '' INT;", Signal::SIGINT, 0),
    ] {
        if is_ignored(signal) && code != 0 {
            continue;
        }
        let run = format!("{signal}-{}", ignored.len());
        let mut child = started(&smoke, &run, ignored);
        send(&child, signal);
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(code), "{ignored} {signal}");
        assert!(smoke.path(&run).join("checkpoints/latest").is_file());
    }
}
