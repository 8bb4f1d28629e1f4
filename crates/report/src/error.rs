//! Why a report cannot be made.

use std::path::PathBuf;

use plw_record::RecordError;

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is nothing to report.
    #[error(
        "{}: no complete run to report ({}); a run is a folder with config.toml, predictions and, written last, summary.json",
        path.display(),
        if reasons.is_empty() { "no folder here holds a config.toml".to_string() } else { reasons.join("; ") }
    )]
    NoCompleteRun {
        /// The sweep's folder.
        path: PathBuf,
        /// What its runs lack.
        reasons: Vec<String>,
    },
    /// A figure could not be drawn.
    #[error("the figure `{name}` could not be drawn: {problem}")]
    Figure {
        /// Which one.
        name: String,
        /// What the drawing library says.
        problem: String,
    },
}
