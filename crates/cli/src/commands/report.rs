//! `plw report`: a folder of runs becomes a table here and one HTML page.

use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, miette};

use crate::flags::ReportFlags;

pub(crate) fn run(flags: &ReportFlags) -> Result<ExitCode> {
    if !flags.runs.is_dir() {
        return Err(miette!(
            help = "give the folder that a sweep's --out named",
            "there is no folder {}",
            flags.runs.display()
        ));
    }
    let page = flags
        .out
        .clone()
        .unwrap_or_else(|| flags.runs.join("report.html"));
    let report = plw_report::write_report(&flags.runs, &page).into_diagnostic()?;
    println!("{}\n", plw_report::text(&report).trim_end());
    println!("{}", page.display());
    Ok(ExitCode::SUCCESS)
}
