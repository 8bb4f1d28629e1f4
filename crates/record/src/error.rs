//! What can go wrong with a run's files: each error names the file and says what to do.

use std::path::{Path, PathBuf};

/// A run's file could not be written, or does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "cannot {action} {path}".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A line of a log of rows is no row.
    #[error("{}:{line}: not a row of this log ({source}); remove the line, or start the run anew", path.display())]
    Row {
        /// The log.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A JSON file does not hold what it should.
    #[error("{}: {source}; remove the file, and the run is done again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A value has no JSON form.
    #[error("cannot write {} as JSON: {source}", path.display())]
    ToJson {
        /// The file that it was meant for.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// A configuration is not TOML.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What the parser says, with the place.
        source: Box<toml::de::Error>,
    },
    /// A configuration has no TOML form.
    #[error("the configuration cannot be written as TOML: {source}")]
    ToToml {
        /// Why not.
        source: Box<toml::ser::Error>,
    },
    /// A parquet file could not be read or written.
    #[error("{}: {source}; if the file is damaged, remove it and evaluate again", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the library says.
        source: Box<parquet::errors::ParquetError>,
    },
    /// A column of the predictions is missing or has another type.
    #[error("{}: column `{column}`: {problem}; predictions are written by `plw eval` and `plw train`", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process works on the same run.
    #[error("another process is writing to {}; wait for it to end, or choose another output directory", path.display())]
    Locked {
        /// The run's directory.
        path: PathBuf,
    },
}

impl RecordError {
    /// For `map_err`: what was tried on which path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
