//! `plw sweep --submit local`: several workers on this machine, which share its threads.

use std::fs::File;
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread::sleep;
use std::time::Duration;

use miette::{IntoDiagnostic, miette};
use plw_sweep::{NEVER, RunStatus, State, status};

use super::all_runs::{MOST_KILLS, Running, alone};
use super::gpus::Gpus;
use super::grid::Planned;
use super::one_run::check;
use super::status::counts;
use super::{arguments, cannot, make_logs};
use crate::failure::Failure;
use crate::flags::SweepFlags;
use crate::inputs::Inputs;
use crate::logging::LogFlags;
use crate::output::print;
use crate::signals::Stop;
use crate::threads;

/// How often the workers are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Workers without `--workers`.
const WORKERS: usize = 2;

/// Starts the workers, and starts one again that was killed.
pub(super) fn run(
    runs: &[Planned],
    flags: &SweepFlags,
    log: LogFlags,
) -> Result<ExitCode, Failure> {
    // One more than there are runs would have nothing to do.
    let workers = flags.workers.unwrap_or(WORKERS).min(runs.len());
    if flags.print {
        return Err(Failure::never(miette!(
            "there is no job to print: the workers are processes of this machine"
        )));
    }
    let mut inputs = Inputs::default();
    for run in runs {
        check(run, &mut inputs)?;
    }
    let logs = make_logs(flags.output_dir())?;
    let gpus = Gpus::of(runs, workers);
    let running = Running::watch()?;
    tracing::info!("{workers} workers, which log to {}", logs.display());
    let mut working = Vec::new();
    let start = |number: usize| start(number, workers, &gpus, &logs, flags, log);
    let ended = supervise(workers, start, &running, &mut working, flags, log);
    if ended.is_err() {
        // None is left behind.
        running.stop(Stop::Termination);
        for (_, mut child) in working {
            drop(child.wait());
        }
    }
    let mut failed = ended?;
    failed.retain(|status| !status.success());
    if let Some(request) = running.request() {
        return Ok(ExitCode::from(request.exit_code()));
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let is_final = failed
        .iter()
        .all(|status| status.code() == Some(NEVER.into()));
    let runs = status(flags.output_dir()).map_err(Failure::of_sweep)?;
    let failed = runs.iter().filter(|run| run.state == State::Failed);
    let reason = |run: &RunStatus| {
        run.reason
            .as_ref()
            .map(|why| format!("; {} ({why})", run.name))
    };
    let failed: String = failed.filter_map(reason).collect();
    let report = miette!(
        help = format!("see {}, and run the sweep again", logs.display()),
        "not every worker ended well{failed}"
    );
    Err(Failure::never_if(is_final, report))
}

/// Waits for the workers, and returns how each ended in the end.
fn supervise(
    workers: usize,
    start: impl Fn(usize) -> Result<Child, Failure>,
    running: &Running,
    working: &mut Vec<(usize, Child)>,
    flags: &SweepFlags,
    log: LogFlags,
) -> Result<Vec<ExitStatus>, Failure> {
    for number in 1..=workers {
        let child = start(number)?;
        running.add(child.id());
        working.push((number, child));
    }
    let (mut ended, mut shown) = (Vec::new(), String::new());
    let mut kills = vec![0; workers];
    while !working.is_empty() {
        sleep(LOOK_AGAIN);
        let mut place = 0;
        while let Some((number, child)) = working.get_mut(place) {
            let number = *number;
            let Some(status) = child.try_wait().into_diagnostic()? else {
                place += 1;
                continue;
            };
            running.remove(child.id());
            working.remove(place);
            if status.code().is_none() && running.request().is_none() {
                kills[number - 1] += 1;
                if kills[number - 1] == MOST_KILLS {
                    tracing::error!("worker {number} was killed {MOST_KILLS} times ({status})");
                    ended.push(status);
                    continue;
                }
                tracing::warn!("worker {number} was killed ({status}): it is started again");
                let child = start(number)?;
                running.add(child.id());
                working.push((number, child));
                continue;
            }
            ended.push(status);
        }
        if !log.quiet {
            show(flags.output_dir(), &mut shown);
        }
    }
    Ok(ended)
}

fn start(
    number: usize,
    workers: usize,
    gpus: &Gpus,
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
    if std::env::var_os(threads::VARIABLE).is_none() {
        command.env(threads::VARIABLE, (processors / workers).max(1).to_string());
    }
    command.envs(gpus.variable_of(number));
    alone(&mut command);
    command.stderr(file);
    let started = command.spawn();
    Ok(started.map_err(cannot("a worker cannot be started"))?)
}

/// Prints how many runs there are of each state, when that has changed.
fn show(sweep: &Path, shown: &mut String) {
    let counts = match status(sweep) {
        Ok(runs) => counts(&runs),
        Err(error) => error.to_string(),
    };
    if counts != *shown {
        // The workers go on where nobody reads any more.
        drop(print(&format!("{counts}\n")));
        *shown = counts;
    }
}
