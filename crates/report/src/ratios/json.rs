//! Generation ratios as JSON.

use serde::Serialize;

use super::report::RatioReport;

/// What tells these files from others.
pub(crate) const KIND: &str = "generation ratios";

/// A report with what tells its kind.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    kind: &'static str,
    #[serde(flatten)]
    report: &'a RatioReport,
}

impl<'a> Document<'a> {
    pub(crate) fn of(report: &'a RatioReport) -> Self {
        Self { kind: KIND, report }
    }
}

/// The report as JSON: statistics, densities and advice of each data set.
pub fn ratio_json(report: &RatioReport) -> String {
    let text = serde_json::to_string_pretty(&Document::of(report));
    text.expect("numbers, text and lists have a JSON form") + "\n"
}
