//! Signals to a process and to those that it has started.

use std::fs;
use std::str::FromStr;

use miette::{IntoDiagnostic, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Sends a signal by its name. A process that has ended by itself is no error.
pub(crate) fn send(process: u32, signal: &str) -> Result<()> {
    let signal = Signal::from_str(signal).into_diagnostic()?;
    let process = i32::try_from(process).into_diagnostic()?;
    match kill(Pid::from_raw(process), signal) {
        Err(Errno::ESRCH) => Ok(()),
        sent => sent.into_diagnostic(),
    }
}

/// Kills a process and all that it has started, as the end of a machine does: it is stopped first,
/// so that it starts no other.
pub(crate) fn kill_all(process: u32) -> Result<()> {
    send(process, "SIGSTOP")?;
    for child in children(process) {
        kill_all(child)?;
    }
    send(process, "SIGKILL")
}

/// The processes that a process has started.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let mut children = Vec::new();
    for thread in threads.into_iter().flatten().flatten() {
        let listed = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let numbers = listed.split_whitespace();
        children.extend(numbers.filter_map(|number| number.parse::<u32>().ok()));
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_dies_with_those_that_it_started() {
        let script = "sleep 600 & echo $!; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("sh runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("read");
        let grandchild: u32 = line.trim().parse().expect("a process");
        assert_eq!(children(child.id()), [grandchild]);
        kill_all(child.id()).expect("killed");
        assert_eq!(child.wait().expect("it ends").signal(), Some(9));
        send(child.id(), "SIGTERM").expect("nothing to do");
    }
}
