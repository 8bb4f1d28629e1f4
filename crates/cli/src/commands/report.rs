//! `plw report`: a folder of runs becomes a table here and one HTML page.

use std::process::ExitCode;

use miette::{IntoDiagnostic, miette};

use crate::failure::Failure;
use crate::flags::ReportFlags;
use crate::output::print;

pub(crate) fn run(flags: &ReportFlags) -> Result<ExitCode, Failure> {
    if !flags.runs.is_dir() {
        let path = flags.runs.display();
        let problem = match flags.runs.exists() {
            true => format!("{path} is not a folder"),
            false => format!("there is no folder {path}"),
        };
        return Err(Failure::never(miette!(
            help = "give the folder that a sweep's --output-dir named",
            "{problem}"
        )));
    }
    let page = flags.page();
    let report = plw_report::write_report(&flags.runs, &page).into_diagnostic()?;
    let tables = plw_report::text(&report);
    print(&format!("{}\n\n{}\n", tables.trim_end(), page.display()))?;
    Ok(ExitCode::SUCCESS)
}
