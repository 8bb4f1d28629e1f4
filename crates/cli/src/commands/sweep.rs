//! `plw sweep`: a grid of settings, each run in a process of its own; complete runs are skipped.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_record::RunDirectory;

use super::grid::{Planned, grid};
use crate::complete_run::check_complete;
use crate::flags::SweepFlags;
use crate::inputs::Inputs;
use crate::logging::LogFlags;
use crate::output::{Reader, print};
use crate::processes::on_its_own;
use crate::settings::variable;
use crate::signals::{self, Stop};

/// The process of the current run, and the last request to stop.
#[derive(Default)]
struct Running {
    process: Mutex<Option<u32>>,
    request: Mutex<Option<Stop>>,
}

impl Running {
    fn set(&self, process: Option<u32>) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
    }

    /// Passes a request to stop on. The run then stops at a checkpoint, and the sweep with it.
    fn stop(&self, request: Stop) {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        let process = *self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // Elsewhere the run is in the sweep's own group, and gets the Ctrl-C itself.
        #[cfg(unix)]
        if let Some(process) = process.and_then(|process| i32::try_from(process).ok()) {
            let process = nix::unistd::Pid::from_raw(process);
            if let Err(error) = nix::sys::signal::kill(process, request.signal()) {
                tracing::warn!("the run's process {process} could not be asked to stop: {error}");
            }
        }
        #[cfg(not(unix))]
        let _ = process;
    }

    fn stopped(&self) -> Option<Stop> {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn run(flags: &SweepFlags, log: LogFlags) -> Result<ExitCode> {
    let runs = grid(flags)?;
    let program = std::env::current_exe().into_diagnostic()?;
    // Wrong settings of the last run are reported before the first run starts, and before any are
    // written.
    for run in &runs {
        run.settings()?.check()?;
    }
    if flags.list {
        return list(&runs, &program, log);
    }
    let mut inputs = Inputs::default();
    for run in &runs {
        run.settings()?.source.check_model()?;
        refuse_other_run(run, &mut inputs)?;
    }
    let running = Arc::new(Running::default());
    let asked = running.clone();
    signals::watch(move |request| asked.stop(request))
        .into_diagnostic()
        .wrap_err("the sweep could not be stopped at a checkpoint")?;
    for (index, run) in runs.iter().enumerate() {
        let directory = RunDirectory::new(&run.directory);
        let (number, total, name) = (index + 1, runs.len(), directory.name());
        if directory.is_complete() {
            tracing::info!(
                run = name.as_str(),
                number,
                total,
                "run {number} of {total}: {name} is complete"
            );
            continue;
        }
        if let Some(request) = running.stopped() {
            return Ok(ExitCode::from(request.exit_code()));
        }
        tracing::info!(
            run = name.as_str(),
            number,
            total,
            "run {number} of {total}: {name}"
        );
        let status = train(&program, arguments(run, log)?, run, &running).into_diagnostic()?;
        match RunEnd::of(status, running.stopped()) {
            RunEnd::Complete => {}
            RunEnd::Stopped(code) => return Ok(ExitCode::from(code)),
            RunEnd::Failed => {
                return Err(miette!(
                    help = "fix the cause above and run the sweep again: complete runs are skipped",
                    "{name} failed ({status})"
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the end of a run's process means for the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunEnd {
    Complete,
    /// With the exit code of a request to stop.
    Stopped(u8),
    Failed,
}

impl RunEnd {
    /// A process that the sweep asked to stop before it listened ends without a code.
    fn of(status: ExitStatus, asked: Option<Stop>) -> Self {
        match (status.code(), asked) {
            (Some(0), _) => Self::Complete,
            (Some(code), _) => match Stop::of_exit_code(code) {
                Some(stop) => Self::Stopped(stop.exit_code()),
                None => Self::Failed,
            },
            (None, Some(stop)) => Self::Stopped(stop.exit_code()),
            (None, None) => Self::Failed,
        }
    }
}

/// Prints the commands for sh.
fn list(runs: &[Planned], program: &Path, log: LogFlags) -> Result<ExitCode> {
    for run in runs {
        let program = OsString::from(program);
        let words = std::iter::once(program).chain(arguments(run, log)?);
        let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        if print(&(words.join(" ") + "\n"))? == Reader::Gone {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a run in the folder that has other settings, or whose files have other contents. Only
/// the same run may be resumed, or skipped as complete if its records and its result are as they
/// were written.
fn refuse_other_run(run: &Planned, inputs: &mut Inputs) -> Result<()> {
    let directory = RunDirectory::new(&run.directory);
    if !directory.config().exists() {
        return Ok(());
    }
    let before = directory.read_config().into_diagnostic()?;
    let remedy = || {
        format!(
            "remove {}, or choose another folder with --output-dir",
            directory.path.display()
        )
    };
    if let Some(difference) = before.difference(&inputs.resolved(&run.settings()?)?) {
        return Err(miette!(
            help = remedy(),
            "{} is another run: {difference}",
            directory.name()
        ));
    }
    if !directory.is_complete() {
        return Ok(());
    }
    check_complete(&directory).map_err(|changed| {
        miette!(
            help = remedy(),
            "{} is complete, but not as it was written: {changed}",
            directory.name()
        )
    })
}

/// Runs one of them, in a process group of its own: a terminal's Ctrl-C then reaches it once,
/// through the sweep.
fn train(
    program: &Path,
    arguments: Vec<OsString>,
    run: &Planned,
    running: &Running,
) -> std::io::Result<ExitStatus> {
    let mut command = Command::new(program);
    on_its_own(&mut command);
    command.args(arguments);
    // The environment may override the preset, but not the grid.
    for name in &run.varied {
        command.env_remove(variable(name));
    }
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    running.set(Some(child.id()));
    // Asked to stop while there was no process to pass it on to.
    if let Some(request) = running.stopped() {
        running.stop(request);
    }
    let status = child.wait();
    running.set(None);
    status
}

/// The command of a run, whose settings it writes.
fn arguments(run: &Planned, log: LogFlags) -> Result<Vec<OsString>> {
    let config = run.write_settings()?;
    let mut arguments = vec![
        OsString::from("train"),
        "--config".into(),
        config.into(),
        "--output-dir".into(),
        run.directory.clone().into(),
        "--resume".into(),
    ];
    arguments.extend(log.arguments().into_iter().map(OsString::from));
    Ok(arguments)
}

/// A word, quoted for sh where it needs to be.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=,+:@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_run_that_was_asked_to_stop_before_it_listened_has_not_failed() {
        use std::os::unix::process::ExitStatusExt;

        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let terminated = ExitStatus::from_raw(15);
        let asked = Some(Stop::Termination);
        for (status, asked, end) in [
            (exited(0), asked, RunEnd::Complete),
            (exited(130), None, RunEnd::Stopped(130)),
            (exited(143), asked, RunEnd::Stopped(143)),
            (terminated, asked, RunEnd::Stopped(143)),
            (terminated, None, RunEnd::Failed),
            (exited(1), asked, RunEnd::Failed),
        ] {
            assert_eq!(RunEnd::of(status, asked), end, "{status}, {asked:?}");
        }
    }

    #[test]
    fn sh_reads_a_printed_command_back() {
        for (word, printed) in [
            ("runs/plw-0.1", "runs/plw-0.1"),
            ("my runs", "'my runs'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), printed);
        }
    }
}
