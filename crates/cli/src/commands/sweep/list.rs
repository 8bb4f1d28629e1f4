//! `plw sweep --list`: the runs of the grid.

use std::process::ExitCode;

use miette::{IntoDiagnostic, Result};
use plw_sweep::quoted;

use super::arguments;
use super::grid::Planned;
use crate::flags::SweepFlags;
use crate::logging::LogFlags;
use crate::output::{Reader, print};

/// Prints the commands for sh, or the runs as JSON.
pub(super) fn run(runs: &[Planned], flags: &SweepFlags, log: LogFlags) -> Result<ExitCode> {
    if flags.json {
        let listed: Result<Vec<_>> = runs.iter().map(|run| run.listed()).collect();
        let text = serde_json::to_string_pretty(&listed?).into_diagnostic()?;
        print(&(text + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe().into_diagnostic()?;
    for run in runs {
        let mut words = vec![program.clone().into_os_string()];
        words.extend(arguments(flags, log));
        words.extend(["--index".into(), run.index.to_string().into()]);
        let words: Vec<String> = words
            .iter()
            .map(|word| quoted(&word.to_string_lossy()))
            .collect();
        if print(&(words.join(" ") + "\n"))? == Reader::Gone {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}
