//! What can go wrong with a run's files. Each error names the file and says what to do.

use std::path::PathBuf;

use plw_files::FileError;

/// A run's file could not be written, or does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file or directory could not be read, written or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line of a log cannot be read as a row.
    #[error(
        "{path}:{line}: not a row of this log ({source}); \
         put the log back as it was, or start the run again"
    )]
    Row {
        /// The log.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A JSON file does not hold what it should.
    #[error("{path}: {source}; remove the file and start the run again")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A record of a complete run or evaluation is not as it was written.
    #[error("{path}: {problem}; put it back as it was, or train or evaluate again")]
    Changed {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A configuration is not TOML.
    #[error("{path} holds no settings: put it back as it was, or choose another folder. {problem}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What the parser says, with the place.
        problem: String,
    },
    /// A configuration has no TOML form.
    #[error("the configuration cannot be written as TOML: {source}")]
    ToToml {
        /// Why not.
        source: Box<toml::ser::Error>,
    },
    /// A parquet file could not be read or written.
    #[error("{path}: {source}; if the file is damaged, remove it and evaluate again")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the library says.
        source: Box<parquet::errors::ParquetError>,
    },
    /// A column of the predictions is missing or has another type.
    #[error(
        "{path}: column `{column}`: {problem}; \
         use predictions that `plw eval` or `plw train` has written"
    )]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process writes to the same run.
    #[error(
        "another process is writing to {path}; \
         wait for it to end, or choose another output directory"
    )]
    Locked {
        /// The run's directory.
        path: PathBuf,
    },
    /// A run's `.lock` is a symbolic link: writing to it would write to something else.
    #[error("{path} is a symbolic link, which a run does not make: remove it")]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The directory of a run was moved, removed or replaced while a process was writing to it.
    #[error(
        "{path} was moved, removed or replaced while the run was writing to it, so the run has \
         stopped: put it back and resume it, or start again"
    )]
    Displaced {
        /// The run's directory, or what it is locked by.
        path: PathBuf,
    },
    /// A log does not hold the rows that a checkpoint counts on.
    #[error(
        "{path}: {problem}: put the log back as it was, or train again with another --output-dir"
    )]
    Rows {
        /// The log.
        path: PathBuf,
        /// Which row is missing or out of place.
        problem: String,
    },
}
