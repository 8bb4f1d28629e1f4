//! A process with little memory, in which a reader without bounds ends at once.

use std::process::Command;

/// Set in the process that has the limit. It does not begin as the variables of settings do.
const LIMITED: &str = "MEMORY_IS_LIMITED";

/// The address space of that process in KiB: the program, its threads and little more.
const MOST_KIBIBYTES: &str = "2000000";

/// Runs a test of the current binary, by its full name, in a process with little memory, unless
/// this is that process. Where no limit can be set, it runs here.
///
/// # Panics
///
/// If the test fails there.
pub fn with_little_memory(test: &str, body: impl FnOnce()) {
    let is_limited = std::env::var_os(LIMITED).is_some();
    if is_limited || !cfg!(target_os = "linux") {
        return body();
    }
    let program = std::env::current_exe().expect("the system says which binary this is");
    let command = format!("ulimit -v {MOST_KIBIBYTES} && exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &command])
        .arg(program)
        .args([test, "--exact", "--nocapture"])
        .env(LIMITED, "1")
        .output()
        .expect("sh is there");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}: {printed}{errors}");
    print!("{printed}");
    assert!(
        printed.contains("1 passed"),
        "{test} did not run: {printed}"
    );
}
