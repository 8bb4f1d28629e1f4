//! One process under an interruption, and what it may end with: its work done, or an end that the
//! interruption explains.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

use super::case::{Case, FOLDER, command};
use super::full_disk;
use super::interruption::{Interruption, Lock};
use super::system_calls::{self, Injection};
use crate::process_tree::{kill_all, send};
use crate::workspace::Workspace;
use crate::{process, same};

/// Longer than any work takes: a process that still runs then hangs.
const LONGEST: Duration = Duration::from_secs(300);

/// Where strace writes what it saw.
const CALLS_LOG: &str = "calls.log";

/// What an attempt is made with.
pub(super) struct Attempt<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) plw: &'a Path,
    pub(super) case: &'a Case,
    /// The round's own folder: that of the work, and logs.
    pub(super) round: &'a Path,
    /// How long the whole work takes.
    pub(super) duration: Duration,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The work is done.
    Complete,
    /// The interruption ended it.
    Interrupted,
    /// It ended otherwise, as this says.
    Wrong(String),
}

impl Attempt<'_> {
    /// The folder that the work fills.
    pub(super) fn folder(&self) -> PathBuf {
        self.round.join(FOLDER)
    }

    /// The command of the work.
    pub(super) fn words(&self) -> Vec<String> {
        self.case.words(self.plw, &self.folder())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.round.join(name)
    }

    fn after(&self, share: f64) -> Duration {
        self.duration.mul_f64(share)
    }
}

/// Lets a command do the work.
pub(super) fn undisturbed(attempt: &Attempt, words: &[String]) -> Result<Ended> {
    let mut running = Running::start(attempt, words, "undisturbed.err")?;
    let status = running.wait()?;
    Ok(match status.success() {
        true => Ended::Complete,
        false => Ended::Wrong(running.end("undisturbed", status)),
    })
}

/// Starts the work and interrupts it.
pub(super) fn interrupted(attempt: &Attempt, interruption: &Interruption) -> Result<Ended> {
    if let Interruption::SecondProcess { after, lock } = interruption {
        return two_processes(attempt, attempt.after(*after), *lock);
    }
    let words = words_under(attempt, interruption);
    let mut running = Running::start(attempt, &words, "process.err")?;
    let status = struck(attempt, &mut running, interruption)?;
    if let Interruption::FullDisk { .. } = interruption {
        full_disk::take_over(&attempt.folder())?;
    }
    let calls = fs::read_to_string(attempt.log(CALLS_LOG)).unwrap_or_default();
    Ok(judged(interruption, status, &running, &calls))
}

/// The command of the work, under a program that interrupts it where one does.
fn words_under(attempt: &Attempt, interruption: &Interruption) -> Vec<String> {
    let words = attempt.words();
    match interruption {
        Interruption::Call {
            calls,
            number,
            injection,
        } => {
            let log = attempt.log(CALLS_LOG);
            system_calls::interrupted(&words, &log, *calls, *number, *injection)
        }
        Interruption::FileSizeLimit { blocks } => {
            let script = r#"ulimit -f "$0" && exec "$@""#;
            let limit = ["sh", "-c", script, &blocks.to_string()];
            [limit.map(str::to_string).as_slice(), &words].concat()
        }
        Interruption::FullDisk { free } => {
            full_disk::with_little_room(&words, *free, &attempt.folder())
        }
        _ => words,
    }
}

/// Waits for the moment of an interruption that comes from outside, and for the end.
fn struck(
    attempt: &Attempt,
    running: &mut Running,
    interruption: &Interruption,
) -> Result<ExitStatus> {
    match interruption {
        Interruption::Kill { after } => {
            let after = attempt.after(*after);
            running.killed_when(|began| began.elapsed() >= after)
        }
        Interruption::KillOverUnfinished {
            number,
            microseconds,
        } => {
            let mut seen = BTreeSet::new();
            let folder = attempt.folder();
            running.killed_when(|_| {
                seen.extend(same::unfinished(&folder));
                let is_there = seen.len() as u64 >= *number;
                if is_there {
                    std::thread::sleep(Duration::from_micros(*microseconds));
                }
                is_there
            })
        }
        Interruption::Signal { signal, after } => {
            let after = attempt.after(*after);
            if let Some(status) = running.until(|began| began.elapsed() >= after)? {
                return Ok(status);
            }
            send(running.child.id(), signal)?;
            running.wait()
        }
        _ => running.wait(),
    }
}

/// What the end of a process means.
fn judged(
    interruption: &Interruption,
    status: ExitStatus,
    running: &Running,
    calls: &str,
) -> Ended {
    let says = |error: &str| status.code() == Some(1) && running.said().contains(error);
    let is_interrupted = match interruption {
        Interruption::Call {
            injection: Injection::Kill,
            ..
        } => system_calls::took_place(calls, Injection::Kill),
        Interruption::Call { injection, .. } => {
            system_calls::took_place(calls, *injection) && says("(oserror5)")
        }
        Interruption::Signal { signal, .. } => {
            // Before plw listens, the signal ends it as any program.
            status.code() == exit_code(signal) || name_of(status) == Some(*signal)
        }
        Interruption::FileSizeLimit { .. } => says("(oserror27)"),
        Interruption::FullDisk { .. } => says("(oserror28)"),
        _ => name_of(status) == Some("SIGKILL"),
    };
    match (is_interrupted, status.success()) {
        (true, _) => Ended::Interrupted,
        (false, true) => Ended::Complete,
        (false, false) => Ended::Wrong(running.end(&interruption.label(), status)),
    }
}

/// What a program exits with that a signal stopped: 128 and the signal's number.
fn exit_code(signal: &str) -> Option<i32> {
    let signal: nix::sys::signal::Signal = signal.parse().ok()?;
    Some(128 + signal as i32)
}

/// The signal that ended a process.
fn name_of(status: ExitStatus) -> Option<&'static str> {
    let signal = nix::sys::signal::Signal::try_from(status.signal()?).ok()?;
    Some(signal.as_str())
}

/// One process does the work; the other is refused, or finds it done.
fn two_processes(attempt: &Attempt, after: Duration, lock: Lock) -> Result<Ended> {
    let words = attempt.words();
    let mut first = Running::start(attempt, &words, "process.err")?;
    if let Some(status) = first.until(|began| began.elapsed() >= after)? {
        return Ok(match status.success() {
            true => Ended::Complete,
            false => Ended::Wrong(first.end("alone", status)),
        });
    }
    if lock == Lock::Removed {
        // It may not be there yet.
        let _ = fs::remove_file(attempt.folder().join(".lock"));
    }
    let mut second = Running::start(attempt, &words, "second.err")?;
    let ends = [second.wait()?, first.wait()?];
    let mut is_done = false;
    for (status, running) in ends.into_iter().zip([&second, &first]) {
        let is_refused = running.said().contains("anotherprocessiswritingto");
        match status.success() {
            true => is_done = true,
            false if status.code() == Some(1) && is_refused => {}
            false => return Ok(Ended::Wrong(running.end("one of two processes", status))),
        }
    }
    Ok(match is_done {
        true => Ended::Interrupted,
        false => Ended::Wrong("each of two processes was refused because of the other".into()),
    })
}

/// A process, which is killed with all that it started where it is left alone.
struct Running {
    child: Child,
    began: Instant,
    errors: PathBuf,
    is_over: bool,
}

impl Running {
    fn start(attempt: &Attempt, words: &[String], errors: &str) -> Result<Self> {
        let errors = attempt.log(errors);
        let mut command = command(attempt.workspace, words);
        let file = File::create(&errors).into_diagnostic();
        let file = file.wrap_err_with(|| format!("cannot write {}", errors.display()))?;
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(file);
        // A terminal's Ctrl-C stops the torture, which then ends the process.
        let child = command.process_group(0).spawn().into_diagnostic();
        Ok(Self {
            child: child.wrap_err_with(|| format!("cannot start {}", words[0]))?,
            began: Instant::now(),
            errors,
            is_over: false,
        })
    }

    /// Waits until the process ends or `is_time` says so, which is given the time of its start.
    fn until(&mut self, mut is_time: impl FnMut(Instant) -> bool) -> Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait().into_diagnostic()? {
                self.is_over = true;
                return Ok(Some(status));
            }
            if is_time(self.began) {
                return Ok(None);
            }
            process::check_stopped()?;
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let ended = self.until(|began| began.elapsed() > LONGEST)?;
        ended.ok_or_else(|| miette!("a process still runs after {} s", LONGEST.as_secs()))
    }

    fn killed_when(&mut self, is_time: impl FnMut(Instant) -> bool) -> Result<ExitStatus> {
        if let Some(status) = self.until(is_time)? {
            return Ok(status);
        }
        kill_all(self.child.id())?;
        self.wait()
    }

    /// What it said, without the white space and the margin that break its lines anywhere.
    fn said(&self) -> String {
        let bytes = fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.split_whitespace()
            .filter(|&word| word != "│")
            .collect()
    }

    /// How it ended, in words.
    fn end(&self, how: &str, status: ExitStatus) -> String {
        let bytes = fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        format!("{how}: it ended with {status}: {}", text.trim())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            // It may end by itself meanwhile.
            let _ = kill_all(self.child.id());
            let _ = self.child.wait();
        }
    }
}
