//! Why a report cannot be made.

use std::path::PathBuf;

use plw_files::FileError;
use plw_record::RecordError;

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of the report could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The folder holds no complete run.
    #[error(
        "{}: no complete run to report: {}. A complete run is a folder with config.toml, \
         predictions and summary.json, which is written last. Give a folder of such runs.",
        path.display(),
        if reasons.is_empty() {
            "no folder here holds a config.toml".to_string()
        } else {
            reasons.join("; ")
        }
    )]
    NoCompleteRun {
        /// The sweep's folder.
        path: PathBuf,
        /// What each of its runs lacks.
        reasons: Vec<String>,
    },
    /// A file that no report wrote is in the way.
    #[error(
        "{} was not written by a report and would be overwritten: \
         write the report to another folder, or move the file away",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The page has the name of the tables or of the figures' values.
    #[error(
        "the page cannot be {}: the files .json and .md are written beside it; \
         give it a name that ends in .html",
        path.display()
    )]
    PageName {
        /// The page.
        path: PathBuf,
    },
    /// A figure could not be drawn.
    #[error("the figure `{name}` could not be drawn: {problem}")]
    Figure {
        /// The figure's name.
        name: String,
        /// The drawing library's error.
        problem: String,
    },
}
