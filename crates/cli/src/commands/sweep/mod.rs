//! `plw sweep`: a grid of settings, of which any number of workers on any machines do the runs.

mod all_runs;
mod cluster;
mod grid;
mod leased;
mod list;
mod local;
mod one_run;
mod report;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use miette::{IntoDiagnostic, Report, miette};
use plw_sweep::write_list;

use crate::failure::Failure;
use crate::flags::{Scheduler, SweepFlags};
use crate::logging::LogFlags;
use crate::processes;
use grid::grid;

/// The variables in which schedulers give the index of a task.
const INDEX_VARIABLES: [&str; 3] = [
    "SLURM_ARRAY_TASK_ID",
    "JOB_COMPLETION_INDEX",
    "PBS_ARRAY_INDEX",
];

pub(crate) fn run(flags: &SweepFlags, log: LogFlags) -> Result<ExitCode, Failure> {
    if let Some(sweep) = &flags.status {
        return Ok(status::run(sweep, flags)?);
    }
    let runs = grid(flags).map_err(Failure::never)?;
    // Wrong settings of the last run are reported before the first run starts, and before any are
    // written.
    for run in &runs {
        let checked = run.settings().and_then(|settings| settings.check());
        checked.map_err(Failure::never)?;
    }
    if flags.list {
        return Ok(list::run(&runs, flags, log)?);
    }
    let index = match flags.submit {
        Some(_) => None,
        None => flags
            .index
            .map_or_else(scheduled_index, |index| Ok(Some(index)))?,
    };
    let one = index.map(|index| {
        runs.get(index).ok_or_else(|| {
            Failure::never(miette!(
                help = "plw sweep --list shows them",
                "there is no run of index {index}: the sweep has runs 0 to {}",
                runs.len() - 1
            ))
        })
    });
    let one = one.transpose()?;
    if one.is_none() && processes::launch()?.is_some() {
        return Err(Failure::never(miette!(
            help = "give --index N, so that the processes share one run",
            "several processes were started to go through the sweep together"
        )));
    }
    if !flags.print {
        let listed: miette::Result<Vec<_>> = runs.iter().map(|run| run.listed()).collect();
        write_list(flags.output_dir(), &listed?).into_diagnostic()?;
    }
    match (one, flags.submit) {
        (Some(run), _) => one_run::run(run, &runs, flags, log),
        (None, None) => all_runs::run(&runs, flags, log),
        (None, Some(Scheduler::Local)) => local::run(flags, log),
        (None, Some(scheduler)) => cluster::run(&runs, flags, log, scheduler),
    }
}

/// The index that a scheduler gives this process.
fn scheduled_index() -> Result<Option<usize>, Failure> {
    let given = INDEX_VARIABLES
        .into_iter()
        .find_map(|name| Some((name, std::env::var_os(name)?)));
    let Some((name, text)) = given else {
        return Ok(None);
    };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(index) => {
            tracing::info!("the run of index {index}, which is {name}");
            Ok(Some(index))
        }
        None => Err(Failure::never(miette!(
            help = "unset it, or give --index N",
            "the environment variable {name} is {text:?}: it must be the index of a run"
        ))),
    }
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
    if flags.lease_seconds != DEFAULT_LEASE {
        arguments.extend([
            "--lease-seconds".into(),
            flags.lease_seconds.to_string().into(),
        ]);
    }
    arguments.extend(log.arguments().into_iter().map(OsString::from));
    arguments
}

/// Seconds of a lease that is not asked for otherwise.
pub(crate) const DEFAULT_LEASE: u64 = 60;

/// A request of the operating system that failed, with what was to be done.
fn cannot(what: &str) -> impl FnOnce(std::io::Error) -> Report {
    move |error| miette!("{what}: {error}")
}
