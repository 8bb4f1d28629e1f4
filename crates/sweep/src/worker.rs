//! The process that works on a run, so that others can tell where it is and whether it has ended.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process, as other processes on this machine and on others know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// The name of its machine.
    pub host: String,
    /// Its process number there.
    pub process: u32,
    /// When it started, in clock ticks since the machine's boot. None where the system does not
    /// tell.
    pub start: Option<u64>,
    /// The boot of the machine and the namespace of process numbers, in which a number is one
    /// process. None where the system does not tell.
    pub numbered_in: Option<String>,
}

impl Worker {
    /// This process.
    pub fn this() -> Self {
        let process = std::process::id();
        Self {
            host: host_name(),
            process,
            start: State::of(process).map(|state| state.start),
            numbered_in: process_numbers(),
        }
    }

    /// Whether the process is known to have ended: it was one of this machine, since this boot, and
    /// is there no more. False where that cannot be told.
    pub fn has_ended(&self) -> bool {
        let (Some(start), Some(numbered_in)) = (self.start, &self.numbered_in) else {
            return false;
        };
        if process_numbers().as_ref() != Some(numbered_in) {
            return false;
        }
        match State::of(self.process) {
            Some(state) => state.start != start || state.has_ended,
            None => !is_hidden(self.process),
        }
    }

    /// Whether the process is seen to be at work: it is one of this machine, is there, and is not
    /// stopped. False where that cannot be told.
    pub fn is_at_work(&self) -> bool {
        let here = self.numbered_in.is_some() && process_numbers() == self.numbered_in;
        let state = State::of(self.process).filter(|state| Some(state.start) == self.start);
        here && state.is_some_and(|state| !state.has_ended && !state.is_stopped)
    }
}

impl std::fmt::Display for Worker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "process {} on {}", self.process, self.host)
    }
}

/// Whether a process is another user's, and there: `/proc` may hide it (its option `hidepid`).
#[cfg(unix)]
fn is_hidden(process: u32) -> bool {
    let process = i32::try_from(process).map(nix::unistd::Pid::from_raw);
    process
        .is_ok_and(|process| nix::sys::signal::kill(process, None) == Err(nix::errno::Errno::EPERM))
}

#[cfg(not(unix))]
fn is_hidden(_process: u32) -> bool {
    false
}

#[cfg(unix)]
fn host_name() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "unknown".to_string())
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".to_string())
}

fn process_numbers() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// What Linux tells of a process.
#[derive(Debug, PartialEq, Eq)]
struct State {
    start: u64,
    /// It only waits for its parent to take note.
    has_ended: bool,
    /// A signal or a debugger holds it.
    is_stopped: bool,
}

impl State {
    fn of(process: u32) -> Option<Self> {
        Self::parsed(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// From the line of `/proc/PID/stat` (proc_pid_stat(5)). The program's name, in parentheses,
    /// may hold spaces and parentheses.
    fn parsed(line: &str) -> Option<Self> {
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // The state is the third field of the line, and the start the twenty-second.
        Some(Self {
            start: fields.get(19)?.parse().ok()?,
            has_ended: matches!(fields.first(), Some(&("Z" | "X" | "x"))),
            is_stopped: matches!(fields.first(), Some(&("T" | "t"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_programs_name() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 2 1 0 0 20 0 1 0 12345 999 1";
        let state = |start, has_ended, is_stopped| {
            Some(State {
                start,
                has_ended,
                is_stopped,
            })
        };
        assert_eq!(State::parsed(line), state(12345, false, false));
        let stopped = line.replace(" S ", " T ");
        assert_eq!(State::parsed(&stopped), state(12345, false, true));
        assert_eq!(
            State::parsed(&line.replace(" S ", " Z ")),
            state(12345, true, false)
        );
        assert_eq!(State::parsed("7 (a) S 1"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_a_process_that_is_gone_has_ended() {
        let this = Worker::this();
        assert!(!this.has_ended() && this.is_at_work());
        let recycled = Worker {
            start: this.start.map(|start| start + 1),
            ..this.clone()
        };
        assert!(recycled.has_ended(), "the number is another process now");
        let elsewhere = Worker {
            numbered_in: Some("another boot".to_string()),
            ..recycled.clone()
        };
        let unknown = Worker {
            start: None,
            ..recycled
        };
        assert!(!elsewhere.has_ended() && !unknown.has_ended());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_killed_child_has_ended_before_its_parent_takes_note()
    -> Result<(), Box<dyn std::error::Error>> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let worker = Worker {
            process: child.id(),
            start: State::of(child.id()).map(|state| state.start),
            ..Worker::this()
        };
        assert!(!worker.has_ended());
        child.kill()?;
        while !worker.has_ended() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.wait()?;
        assert!(worker.has_ended());
        Ok(())
    }
}
