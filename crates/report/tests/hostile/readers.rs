//! A whole report as a plain function of a folder, for property tests and for fuzzers.

use std::path::Path;

use plw_report::{AnalysisOptions, analyze, figures, markdown, page, read_sweep, text};

/// The tables, figures and page of a sweep's folder. The result says whether there was a run to
/// report.
pub(crate) fn report(sweep: &Path) -> bool {
    let sweep = match read_sweep(sweep) {
        Ok(sweep) => sweep,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let options = AnalysisOptions {
        resamples: 19,
        seed: 0,
    };
    let report = analyze(&sweep, &options);
    assert!(!markdown(&report).is_empty() && !text(&report).is_empty());
    match figures(&sweep, &report) {
        Ok(figures) => assert!(page(&sweep, &report, &figures).contains("</html>")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    true
}
