//! The report of a sweep, made by whoever completes its last run.

use std::path::Path;

use plw_record::RunDirectory;
use plw_report::write_report;

use super::grid::Planned;

/// Writes the report if every run is complete, and it is not there or `is_new` says that a run has
/// just been completed. A sweep without results to report has none.
pub(super) fn write_where_due(runs: &[Planned], sweep: &Path, is_new: bool) {
    let page = sweep.join("report.html");
    let is_complete = |run: &Planned| RunDirectory::new(&run.directory).is_complete();
    if !runs.iter().all(is_complete) || (page.exists() && !is_new) {
        return;
    }
    match write_report(sweep, &page) {
        Ok(_) => tracing::info!("all runs are complete: {}", page.display()),
        Err(error) => tracing::warn!("the sweep is complete, but has no report: {error}"),
    }
}
