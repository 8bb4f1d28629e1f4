//! The runs of the grid: `plw sweep --list`, and the list in the sweep's folder.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, miette};
use plw_record::RunDirectory;
use plw_sweep::{SweepError, SweepList, quoted, read_list, write_list};

use super::arguments;
use super::grid::Planned;
use super::one_run::{check_same_run, records};
use crate::failure::Failure;
use crate::flags::SweepFlags;
use crate::inputs::Inputs;
use crate::logging::LogFlags;
use crate::output::{Reader, print};
use crate::settings::{Preset, Settings, environment_of_settings};

/// Prints the commands for sh, with the settings of the environment, or the runs as JSON.
pub(super) fn run(runs: &[Planned], flags: &SweepFlags, log: LogFlags) -> Result<ExitCode> {
    if flags.json {
        let listed: Result<Vec<_>> = runs.iter().map(|run| run.listed()).collect();
        let text = serde_json::to_string_pretty(&listed?).into_diagnostic()?;
        print(&(text + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe().into_diagnostic()?;
    let environment: Vec<OsString> = environment_of_settings()
        .into_iter()
        .map(|(name, value)| format!("{name}={value}").into())
        .collect();
    for run in runs {
        let mut words = Vec::new();
        if !environment.is_empty() {
            words.push("env".into());
            words.extend(environment.iter().cloned());
        }
        words.push(program.clone().into_os_string());
        words.extend(arguments(flags, log));
        words.extend(["--index".into(), run.index.to_string().into()]);
        let words: Result<Vec<String>> = words.iter().map(word).collect();
        let words = words?;
        if print(&(words.join(" ") + "\n"))? == Reader::Gone {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A word for sh.
fn word(word: &OsString) -> Result<String> {
    let word = word.to_str().ok_or_else(|| {
        miette!(
            help = "choose another --output-dir or --config",
            "{word:?} is not UTF-8, as a printed command is"
        )
    });
    word.map(quoted)
}

/// The list of the sweep in its folder, as this preset and these flags make it.
fn listed(preset: &Preset, runs: &[Planned]) -> Result<SweepList, Failure> {
    let decided = runs.first().map_or(Vec::new(), Planned::decided);
    let settings = Settings::shared_by_runs(preset, &decided).map_err(Failure::never)?;
    let runs: Result<Vec<_>> = runs.iter().map(|run| run.listed()).collect();
    Ok(SweepList {
        settings,
        runs: runs.map_err(Failure::never)?,
    })
}

/// Writes the list, for those who start a sweep or add runs to it.
pub(super) fn write(preset: &Preset, runs: &[Planned], flags: &SweepFlags) -> Result<(), Failure> {
    if flags.parent.is_some() {
        return join(preset, runs, None, flags);
    }
    let ours = check(preset, runs, flags)?;
    Ok(write_list(flags.output_dir(), &ours).into_diagnostic()?)
}

/// The list, once it is certain that it may be written: once a run has begun, it stays in the list,
/// and the settings that the runs share do not change.
pub(super) fn check(
    preset: &Preset,
    runs: &[Planned],
    flags: &SweepFlags,
) -> Result<SweepList, Failure> {
    let (ours, folder) = (listed(preset, runs)?, flags.output_dir());
    let Some(theirs) = read(runs, folder)? else {
        return Ok(ours);
    };
    let is_other = theirs.settings != ours.settings;
    let is_dropped = |name: &str| !ours.runs.iter().any(|run| run.name == name);
    let begun = theirs
        .runs
        .iter()
        .filter(|run| is_other || is_dropped(&run.name))
        .find(|run| has_begun(folder, &run.name));
    match begun.zip(theirs.difference(&ours)) {
        None => Ok(ours),
        Some((begun, difference)) => Err(Failure::never(miette!(
            help = "choose another --output-dir, keep its runs in the sweep, or remove it",
            "{} holds another sweep, whose run {} has begun: {difference}",
            folder.display(),
            begun.name
        ))),
    }
}

/// The list in the sweep's folder. None where it is missing or damaged, and may be written: every
/// run that has begun there is one of these.
fn read(runs: &[Planned], sweep: &Path) -> Result<Option<SweepList>, Failure> {
    match read_list(sweep) {
        Err(SweepError::NoSweep { .. }) => {}
        Err(damaged @ SweepError::List { .. }) => tracing::warn!("{damaged}: it is written now"),
        list => return Ok(Some(list.into_diagnostic()?)),
    }
    let mut inputs = Inputs::default();
    for run in runs.iter().filter(|run| has_begun(sweep, &run.name())) {
        let settings = run.settings().map_err(Failure::never)?;
        check_same_run(run, &settings, &mut inputs)?;
    }
    Ok(None)
}

fn has_begun(sweep: &Path, name: &str) -> bool {
    records(&RunDirectory::new(sweep.join(name))).is_ok_and(|records| records.is_some())
}

/// Checks that this process and the others mean the same sweep, or where it does the run of an
/// index the same run. Writes the list if it is the first, and nobody started it for a sweep.
pub(super) fn join(
    preset: &Preset,
    runs: &[Planned],
    index: Option<usize>,
    flags: &SweepFlags,
) -> Result<(), Failure> {
    let (ours, folder) = (listed(preset, runs)?, flags.output_dir());
    let theirs = match flags.parent {
        Some(_) => read_list(folder).map_err(Failure::of_sweep)?,
        None => match read(runs, folder)? {
            Some(theirs) => theirs,
            None => return Ok(write_list(folder, &ours).into_diagnostic()?),
        },
    };
    // Runs may have been added since this one was asked for.
    let is_same_run = |index: usize| {
        theirs.settings == ours.settings && theirs.runs.get(index) == ours.runs.get(index)
    };
    match theirs.difference(&ours) {
        None => Ok(()),
        Some(_) if index.is_some_and(is_same_run) => Ok(()),
        Some(difference) => Err(Failure::never(miette!(
            help = "choose another --output-dir; or to add runs to the sweep, or to change one \
                    that has not begun, start or submit it again",
            "{} holds another sweep: {difference}",
            folder.display()
        ))),
    }
}
