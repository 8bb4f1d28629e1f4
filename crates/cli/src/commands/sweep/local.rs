//! `plw sweep --submit local`: several workers on this machine, which share its threads.

use std::fs::File;
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use miette::{IntoDiagnostic, miette};
use plw_sweep::status;

use super::all_runs::{Running, alone};
use super::status::table;
use super::{arguments, cannot};
use crate::failure::Failure;
use crate::flags::SweepFlags;
use crate::logging::LogFlags;
use crate::output::print;
use crate::threads;

/// How often the workers are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Workers without `--workers`.
const WORKERS: usize = 2;

/// Starts the workers, and starts one again that was killed.
pub(super) fn run(flags: &SweepFlags, log: LogFlags) -> Result<ExitCode, Failure> {
    let workers = flags.workers.unwrap_or(WORKERS).max(1);
    let logs = flags.output_dir().join("logs");
    if flags.print {
        return Err(Failure::never(miette!(
            "there is no job to print: the workers are processes of this machine"
        )));
    }
    std::fs::create_dir_all(&logs).map_err(cannot("the folder of logs cannot be made"))?;
    let running = Running::watch()?;
    let start = |number: usize| start(number, workers, &logs, flags, log);
    let mut working: Vec<(usize, Child)> = Vec::new();
    for number in 1..=workers {
        let child = start(number)?;
        running.add(child.id());
        working.push((number, child));
    }
    tracing::info!("{workers} workers, which log to {}", logs.display());
    let (mut failed, mut shown) = (false, String::new());
    while !working.is_empty() {
        sleep(LOOK_AGAIN);
        let mut left = Vec::new();
        for (number, mut child) in working {
            let Some(status) = child.try_wait().into_diagnostic()? else {
                left.push((number, child));
                continue;
            };
            running.remove(child.id());
            if status.code().is_none() && running.request().is_none() {
                tracing::warn!("worker {number} was killed ({status}): it is started again");
                let child = start(number)?;
                running.add(child.id());
                left.push((number, child));
            }
            failed |= status.code().is_some_and(|code| code != 0);
        }
        working = left;
        if !log.quiet {
            show(flags.output_dir(), &mut shown)?;
        }
    }
    if let Some(request) = running.request() {
        return Ok(ExitCode::from(request.exit_code()));
    }
    match failed {
        false => Ok(ExitCode::SUCCESS),
        true => Err(Failure::from(miette!(
            help = format!("see {}, and run the sweep again", logs.display()),
            "not every worker ended well"
        ))),
    }
}

fn start(
    number: usize,
    workers: usize,
    logs: &Path,
    flags: &SweepFlags,
    log: LogFlags,
) -> Result<Child, Failure> {
    let path = logs.join(format!("worker-{number}.log"));
    let mut options = File::options();
    let file = options.create(true).append(true).open(&path);
    let file = file.map_err(cannot("a worker's log cannot be written"))?;
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut command = Command::new(std::env::current_exe().into_diagnostic()?);
    command.args(arguments(flags, log));
    if let Some(seconds) = flags.stop_within {
        command.args(["--stop-within".to_string(), seconds.to_string()]);
    }
    if std::env::var_os(threads::VARIABLE).is_none() {
        command.env(threads::VARIABLE, (processors / workers).max(1).to_string());
    }
    alone(&mut command);
    command.stderr(file);
    let started = command.spawn();
    Ok(started.map_err(cannot("a worker cannot be started"))?)
}

/// Prints how many runs there are of each state, when that has changed.
fn show(sweep: &Path, shown: &mut String) -> Result<(), Failure> {
    let runs = status(sweep).into_diagnostic()?;
    let table = table(&runs);
    let counts = table.lines().last().unwrap_or_default();
    if counts != shown {
        print(&format!("{counts}\n"))?;
        *shown = counts.to_string();
    }
    Ok(())
}
