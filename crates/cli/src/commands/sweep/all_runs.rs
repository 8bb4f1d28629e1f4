//! All runs of a sweep, one after the other, each in a process of its own. Several workers may go
//! through them at once: each takes what is free, and waits at the end for what others have.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use miette::{IntoDiagnostic, WrapErr, miette};
use plw_record::RunDirectory;
use plw_sweep::{
    Event, EventKind, NEVER, Standing, TRY_AGAIN, Worker, read_events, require_list, standing, tidy,
};

use super::grid::Planned;
use super::one_run::{begun_alone, check};
use super::report::write_where_due;
use super::{INDEX_VARIABLES, arguments, cannot};
use crate::failure::Failure;
use crate::flags::SweepFlags;
use crate::inputs::Inputs;
use crate::logging::LogFlags;
use crate::processes;
use crate::signals::{self, Stop};

/// How often the runs that others have are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Kills of a run's process after which it counts as failed: its memory may not suffice.
pub(super) const MOST_KILLS: u32 = 10;

/// The process of the current run, and the last request to stop.
#[derive(Default)]
pub(super) struct Running {
    processes: Mutex<Vec<u32>>,
    request: Mutex<Option<Stop>>,
}

impl Running {
    /// Passes requests to stop on from now on.
    pub(super) fn watch() -> Result<Arc<Self>, Failure> {
        let running = Arc::new(Self::default());
        let asked = running.clone();
        signals::watch(move |request| asked.stop(request))
            .into_diagnostic()
            .wrap_err("the sweep could not be stopped at a checkpoint")?;
        Ok(running)
    }

    fn processes(&self) -> MutexGuard<'_, Vec<u32>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A process to pass requests on to.
    pub(super) fn add(&self, process: u32) {
        self.processes().push(process);
        // Asked to stop while there was no process to pass it on to.
        if let Some(request) = self.request() {
            send(process, request);
        }
    }

    pub(super) fn remove(&self, process: u32) {
        self.processes().retain(|&other| other != process);
    }

    pub(super) fn stop(&self, request: Stop) {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        for &process in self.processes().iter() {
            send(process, request);
        }
    }

    pub(super) fn request(&self) -> Option<Stop> {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a process the signal of a request. Where there are no Unix signals, the process is in this
/// one's group and gets the Ctrl-C itself.
fn send(process: u32, request: Stop) {
    #[cfg(unix)]
    if let Ok(process) = i32::try_from(process) {
        let process = nix::unistd::Pid::from_raw(process);
        if let Err(error) = nix::sys::signal::kill(process, request.signal()) {
            tracing::warn!("process {process} could not be asked to stop: {error}");
        }
    }
    #[cfg(not(unix))]
    let _ = (process, request);
}

/// Does what is left of a sweep.
pub(super) fn run(
    runs: &[Planned],
    flags: &SweepFlags,
    log: LogFlags,
) -> Result<ExitCode, Failure> {
    let program = std::env::current_exe().into_diagnostic()?;
    let mut inputs = Inputs::default();
    for run in runs {
        check(run, &mut inputs)?;
    }
    let running = Running::watch()?;
    let mut sweep = Sweep {
        before: runs.iter().map(events_of).collect(),
        failed: HashMap::new(),
        kills: HashMap::new(),
    };
    for run in runs.iter().filter(|run| is_complete(run)) {
        tidy(&RunDirectory::new(&run.directory)).into_diagnostic()?;
        announce(run, runs.len(), " is complete");
    }
    let mut waits = false;
    while let Some(next) = sweep.next(runs) {
        if let Some(request) = running.request() {
            return Ok(ExitCode::from(request.exit_code()));
        }
        require_list(flags.output_dir()).into_diagnostic()?;
        let Next::Free(run) = next else {
            if !waits {
                tracing::info!("other workers are at the runs that are left: waiting for them");
            }
            waits = true;
            sleep(LOOK_AGAIN);
            continue;
        };
        announce(run, runs.len(), "");
        let mut arguments = arguments(flags, log);
        arguments.extend(["--index".into(), run.index.to_string().into()]);
        let status = finished(&program, arguments, &running)
            .map_err(cannot("a process for the run cannot be started"))?;
        if let Some(code) = sweep.note(run, status, running.request()) {
            return Ok(ExitCode::from(code));
        }
    }
    if !sweep.failed.is_empty() {
        let mut failed: Vec<(&usize, &Failed)> = sweep.failed.iter().collect();
        failed.sort_by_key(|(index, _)| **index);
        let is_final = failed.iter().all(|(_, failed)| failed.is_final);
        let failed: Vec<&str> = failed.iter().map(|(_, failed)| &*failed.reason).collect();
        let report = miette!(
            help = "fix the cause above and run the sweep again: complete runs are skipped",
            "{} of {} runs failed: {}",
            failed.len(),
            runs.len(),
            failed.join("; ")
        );
        return Err(Failure::never_if(is_final, report));
    }
    // Whoever completed the last run may have been killed before it made the report.
    write_where_due(runs, flags.output_dir(), false);
    Ok(ExitCode::SUCCESS)
}

fn announce(run: &Planned, total: usize, how: &str) {
    let name = RunDirectory::new(&run.directory).name();
    let number = run.index + 1;
    tracing::info!(
        run = name.as_str(),
        number,
        total,
        "run {number} of {total}: {name}{how}"
    );
}

fn is_complete(run: &Planned) -> bool {
    RunDirectory::new(&run.directory).is_complete()
}

/// Damaged ones are told of when the run's turn comes.
fn events_of(run: &Planned) -> usize {
    read_events(&run.directory).map_or(0, |events| events.len())
}

/// What this worker knows of the sweep.
struct Sweep {
    /// The events of each run when it came. Failures before may be mended by now.
    before: Vec<usize>,
    /// Why a run failed since, by its index.
    failed: HashMap<usize, Failed>,
    /// How often the process of a run was killed.
    kills: HashMap<usize, u32>,
}

/// How a run failed.
struct Failed {
    /// The run, and why.
    reason: String,
    /// Whether another try would end the same.
    is_final: bool,
}

impl Failed {
    fn of(run: &Planned, why: impl Display, is_final: bool) -> Self {
        let name = RunDirectory::new(&run.directory).name();
        Self {
            reason: format!("{name} ({why})"),
            is_final,
        }
    }
}

/// What is to be done next.
enum Next<'a> {
    Free(&'a Planned),
    Wait,
}

impl Sweep {
    /// None once every run is complete or has failed.
    fn next<'a>(&mut self, runs: &'a [Planned]) -> Option<Next<'a>> {
        let this = Worker::this();
        let mut waits = false;
        for run in runs {
            let directory = RunDirectory::new(&run.directory);
            if directory.is_complete() || self.failed.contains_key(&run.index) {
                continue;
            }
            let events = match read_events(&run.directory) {
                Ok(events) => events,
                Err(error) => {
                    tracing::error!("{}: {error}", directory.name());
                    let is_final = error.is_damage();
                    let failed = Failed::of(run, error, is_final);
                    self.failed.insert(run.index, failed);
                    continue;
                }
            };
            match standing(&directory, &events, &this) {
                Standing::Held(_) => waits = true,
                Standing::Free(_) if begun_alone(&directory) && directory.is_written() => {
                    waits = true;
                }
                Standing::Free(_) => match self.failed_meanwhile(run, &events) {
                    Some(failed) => drop(self.failed.insert(run.index, failed)),
                    None => return Some(Next::Free(run)),
                },
                // Whoever looks at it next publishes it.
                Standing::Complete(_) => return Some(Next::Free(run)),
            }
        }
        waits.then_some(Next::Wait)
    }

    /// Why another worker's attempt failed since this one came.
    fn failed_meanwhile(&self, run: &Planned, events: &[Event]) -> Option<Failed> {
        match events
            .get(self.before[run.index]..)?
            .last()
            .map(|event| &event.kind)
        {
            Some(EventKind::Failed { reason, never, .. }) => Some(Failed::of(run, reason, *never)),
            _ => None,
        }
    }

    /// Takes note of how a run's process ended, and returns what the sweep exits with, if it stops.
    fn note(&mut self, run: &Planned, status: ExitStatus, asked: Option<Stop>) -> Option<u8> {
        let name = RunDirectory::new(&run.directory).name();
        match RunEnd::of(status, asked) {
            RunEnd::Complete | RunEnd::TryAgain => {}
            RunEnd::Stopped(code) => return Some(code),
            RunEnd::Killed => {
                let kills = self.kills.entry(run.index).or_default();
                *kills += 1;
                tracing::warn!("{name} was killed ({status})");
                if *kills == MOST_KILLS {
                    let why = format!("killed {MOST_KILLS} times: {status}");
                    self.failed.insert(run.index, Failed::of(run, why, false));
                }
            }
            RunEnd::Failed => {
                tracing::error!("{name} failed ({status})");
                let events = read_events(&run.directory).unwrap_or_default();
                let failed = self.failed_meanwhile(run, &events);
                let is_final = status.code() == Some(NEVER.into());
                let failed = failed.unwrap_or_else(|| Failed::of(run, status, is_final));
                self.failed.insert(run.index, failed);
            }
        }
        None
    }
}

/// What the end of a run's process means for the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunEnd {
    Complete,
    /// With the exit code of a request to stop that was meant for the sweep.
    Stopped(u8),
    /// The run stopped, or another worker has it.
    TryAgain,
    Killed,
    Failed,
}

impl RunEnd {
    /// A process that the sweep asked to stop before it listened ends without a code.
    fn of(status: ExitStatus, asked: Option<Stop>) -> Self {
        const HANGUP: u8 = 129;
        const INTERRUPT: u8 = 130;

        let Some(code) = status.code() else {
            return asked.map_or(Self::Killed, |asked| Self::Stopped(asked.exit_code()));
        };
        match (u8::try_from(code), asked) {
            (Ok(0), _) => Self::Complete,
            (Ok(TRY_AGAIN), Some(asked)) => Self::Stopped(asked.exit_code()),
            (Ok(TRY_AGAIN), None) => Self::TryAgain,
            (Ok(code @ (HANGUP | INTERRUPT)), _) => Self::Stopped(code),
            _ => Self::Failed,
        }
    }
}

/// Runs a process of the sweep to its end, in a process group of its own: a terminal's Ctrl-C then
/// reaches it once, through the sweep.
fn finished(
    program: &Path,
    arguments: Vec<OsString>,
    running: &Running,
) -> std::io::Result<ExitStatus> {
    let mut command = Command::new(program);
    command.args(arguments);
    alone(&mut command);
    let mut child = command.spawn()?;
    running.add(child.id());
    let status = child.wait();
    running.remove(child.id());
    status
}

/// Gives a process a group of its own, and no task of a scheduler or place among processes. It is
/// asked to stop when this one ends.
pub(super) fn alone(command: &mut Command) {
    processes::on_its_own(command);
    for name in INDEX_VARIABLES {
        command.env_remove(name);
    }
    command.args(["--parent".to_string(), std::process::id().to_string()]);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn the_end_of_a_process_tells_how_the_sweep_goes_on() {
        use std::os::unix::process::ExitStatusExt;

        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let killed_by = ExitStatus::from_raw;
        let asked = Some(Stop::Termination);
        for (status, asked, end) in [
            (exited(0), asked, RunEnd::Complete),
            (exited(130), None, RunEnd::Stopped(130)),
            (exited(75), asked, RunEnd::Stopped(75)),
            (exited(75), Some(Stop::Interrupt), RunEnd::Stopped(130)),
            (exited(75), None, RunEnd::TryAgain),
            (killed_by(15), asked, RunEnd::Stopped(75)),
            (killed_by(9), None, RunEnd::Killed),
            (exited(78), None, RunEnd::Failed),
            (exited(1), asked, RunEnd::Failed),
        ] {
            assert_eq!(RunEnd::of(status, asked), end, "{status}, {asked:?}");
        }
    }
}
