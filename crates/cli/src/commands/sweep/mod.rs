//! `plw sweep`: a grid of settings, of which any number of workers on any machines do the runs.

mod all_runs;
mod cluster;
mod gpus;
mod grid;
mod leased;
mod list;
mod local;
mod one_run;
mod parent;
mod report;
mod status;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miette::{IntoDiagnostic, Report, Result, miette};
use plw_files::FileError;
use plw_sweep::logs_of;

use crate::failure::Failure;
use crate::flags::{DEFAULT_LEASE, Scheduler, SweepFlags};
use crate::logging::LogFlags;
use crate::processes;
use crate::settings::Preset;
use crate::stopping::Stopping;
use grid::grid;

/// The variables in which schedulers give the index of a task.
const INDEX_VARIABLES: [&str; 3] = [
    "SLURM_ARRAY_TASK_ID",
    "JOB_COMPLETION_INDEX",
    "PBS_ARRAY_INDEX",
];

pub(crate) fn run(flags: &SweepFlags, log: LogFlags) -> Result<ExitCode, Failure> {
    if let Some(sweep) = &flags.status {
        return status::run(sweep, flags);
    }
    if flags.json && !flags.list {
        return Err(Failure::never(miette!("--json is for --list and --status")));
    }
    if flags.workers == Some(0) {
        return Err(Failure::never(miette!(
            "--workers is 0: nobody would do the runs"
        )));
    }
    let index = match flags.list || flags.submit.is_some() {
        true => None,
        false => match flags.index {
            Some(index) => Some(index),
            None => scheduled_index(|name| std::env::var_os(name))?,
        },
    };
    let launch = processes::launch()?;
    if index.is_none() && launch.is_some() {
        let help = match flags.list || flags.submit.is_some() {
            true => "start one process",
            false => "give --index N, so that the processes share one run",
        };
        return Err(Failure::never(miette!(
            help = help,
            "several processes were started to go through the sweep together"
        )));
    }
    // A scheduler may end the process at any moment.
    let is_first = launch.is_none_or(|launch| launch.rank == 0);
    let stopping = index.map(|_| Stopping::watch(flags.stop_within, is_first));
    parent::end_with(flags.parent)?;
    let preset = Preset::read(flags.config()).map_err(Failure::never)?;
    cluster::settings(&preset).map_err(Failure::never)?;
    let runs = grid(&preset, flags).map_err(Failure::never)?;
    if let (Some(index), Some(stopping)) = (index, stopping) {
        let Some(run) = runs.get(index) else {
            return Err(Failure::never(miette!(
                help = "plw sweep --list shows them",
                "there is no run of index {index}: the sweep has runs 0 to {}",
                runs.len() - 1
            )));
        };
        if is_first {
            list::join(&preset, &runs, Some(index), flags)?;
        }
        return one_run::run(run, &runs, flags, log, &stopping);
    }
    // Wrong settings of the last run are reported before the first run starts, and before any are
    // written.
    for run in &runs {
        let checked = run.settings().and_then(|settings| settings.check());
        checked.map_err(Failure::never)?;
    }
    match flags.submit {
        _ if flags.list => Ok(list::run(&runs, flags, log)?),
        Some(scheduler @ (Scheduler::Slurm | Scheduler::Kubernetes)) => {
            cluster::run(&preset, &runs, flags, log, scheduler)
        }
        Some(Scheduler::Local) => {
            list::write(&preset, &runs, flags)?;
            local::run(&runs, flags, log)
        }
        None => {
            list::write(&preset, &runs, flags)?;
            all_runs::run(&runs, flags, log)
        }
    }
}

/// The index that schedulers give this process.
fn scheduled_index(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<usize>, Failure> {
    let mut found: Option<(&str, usize)> = None;
    for name in INDEX_VARIABLES {
        let Some(text) = variable(name) else { continue };
        let index = text.to_str().and_then(|text| text.parse().ok());
        let index = index.ok_or_else(|| {
            Failure::never(miette!(
                help = "unset it, or give --index N",
                "the environment variable {name} is {text:?}: it must be the index of a run"
            ))
        })?;
        match found {
            Some((other, before)) if before != index => {
                return Err(Failure::never(miette!(
                    help = "give --index N",
                    "{other} is {before}, and {name} is {index}: which run is to be done?"
                )));
            }
            _ => found = Some((name, index)),
        }
    }
    if let Some((name, index)) = found {
        tracing::info!("the run of index {index}, which is {name}");
    }
    Ok(found.map(|(_, index)| index))
}

/// The arguments of a process that does runs of this sweep: all of them, or one that it is given
/// the index of.
fn arguments(flags: &SweepFlags, log: LogFlags) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["sweep".into(), "--config".into()];
    arguments.extend([flags.config().into(), "--output-dir".into()]);
    arguments.push(flags.output_dir().into());
    if let Some(weights) = &flags.prompt_loss_weight {
        let weights: Vec<String> = weights.iter().map(f64::to_string).collect();
        arguments.extend(["--prompt-loss-weight".into(), weights.join(",").into()]);
    }
    if let Some(seeds) = flags.seeds {
        arguments.extend(["--seeds".into(), seeds.to_string().into()]);
    }
    if let Some(seconds) = flags.stop_within {
        arguments.extend(["--stop-within".into(), seconds.to_string().into()]);
    }
    if flags.lease_seconds != DEFAULT_LEASE {
        arguments.extend([
            "--lease-seconds".into(),
            flags.lease_seconds.to_string().into(),
        ]);
    }
    arguments.extend(log.arguments().into_iter().map(OsString::from));
    arguments
}

/// Makes the folder that the workers of a sweep log to.
fn make_logs(sweep: &Path) -> Result<PathBuf> {
    let logs = logs_of(sweep);
    let made = std::fs::create_dir_all(&logs).map_err(FileError::cannot("create", &logs));
    made.into_diagnostic()?;
    Ok(logs)
}

/// A request of the operating system that failed, with what was to be done.
fn cannot(what: &str) -> impl FnOnce(std::io::Error) -> Report {
    move |error| miette!("{what}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_comes_from_whichever_scheduler_gives_one() {
        let index = |given: &[(&str, &str)]| {
            let found = scheduled_index(|name| {
                let found = given.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| OsString::from(value))
            });
            found.map_err(|failure| failure.report.to_string())
        };
        let (slurm, pbs) = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX");
        assert_eq!(index(&[]), Ok(None));
        assert_eq!(index(&[(pbs, "3")]), Ok(Some(3)));
        assert_eq!(index(&[(slurm, "3"), (pbs, "3")]), Ok(Some(3)));
        assert!(index(&[(slurm, "3"), (pbs, "4")]).is_err_and(|e| e.contains("which run")));
        assert!(index(&[(pbs, "-1")]).is_err_and(|e| e.contains("PBS_ARRAY_INDEX is \"-1\"")));
    }
}
