//! Readers of files that others write, given changed copies of good files: they answer with a value
//! or an error, never with a panic, and take no more memory than a limit of the process allows.

mod adapter_config;
mod config;
mod headers;
mod index;
mod mutation;

use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Set in the process that has the limit.
const LIMITED: &str = "PLW_MEMORY_LIMITED";

/// The address space of a process under test in KiB: the program, its threads and little more.
const MOST_KIBIBYTES: &str = "2000000";

/// Reads every value of a strategy: 2000, or as many as `PROPTEST_CASES` says, from a seed that is
/// always the same. Returns the share that passed the first check, as `read` says.
fn share_that_passes<S: Strategy>(strategy: S, read: impl Fn(S::Value) -> bool) -> f64 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    let cases = cases.and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(13),
        failure_persistence: None,
        ..Config::default()
    };
    let passed = std::cell::Cell::new(0);
    let count = |value| {
        passed.set(passed.get() + u32::from(read(value)));
        Ok(())
    };
    let result = TestRunner::new(config).run(&strategy, count);
    if let Err(error) = result {
        panic!("{error}");
    }
    f64::from(passed.get()) / f64::from(cases)
}

/// Runs a test of this binary in a process with little memory, unless this is that process.
fn with_little_memory(test: &str, body: impl FnOnce()) {
    let limited = std::env::var_os(LIMITED).is_some();
    if limited || !cfg!(target_os = "linux") {
        return body();
    }
    let program = std::env::current_exe().expect("this binary");
    let command = format!("ulimit -v {MOST_KIBIBYTES} && exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &command])
        .arg(program)
        .args([test, "--exact", "--nocapture"])
        .env(LIMITED, "1")
        .output()
        .expect("this binary runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}: {printed}{errors}");
    assert!(
        printed.contains("1 passed"),
        "{test} did not run: {printed}"
    );
}
