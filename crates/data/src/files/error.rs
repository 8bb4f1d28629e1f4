//! Why the files of a source cannot be found.

use std::path::PathBuf;

use plw_hub::HubError;

use super::split::Split;

/// Why the files of a source cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source is an empty string.
    #[error("the data source is empty; give a data file, a folder of them, or hub:owner/name")]
    EmptySource,
    /// A string that begins with `hub:` does not name a data set.
    #[error(
        "`{0}` does not name a data set on the hub; write hub:owner/name, hub:owner/name/folder \
         or hub:owner/name@revision"
    )]
    HubName(String),
    /// There is no such file or folder.
    #[error(
        "{path} does not exist; give a data file, a folder of them, a pattern such as \
         data/*.jsonl, or hub:owner/name",
        path = .0.display()
    )]
    NotFound(PathBuf),
    /// A pattern matches no file.
    #[error("no file matches {0}; check the pattern, and quote it for the shell")]
    NoMatch(String),
    /// A pattern cannot be read.
    #[error("`{pattern}` is not a pattern of paths: {problem}; * and ? stand for any characters")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What is there is neither a file nor a folder.
    #[error(
        "{path} is a device, a pipe or a socket; copy what it gives to a data file",
        path = .0.display()
    )]
    NotAFile(PathBuf),
    /// A folder cannot be listed.
    #[error("cannot list {path}: {source}; check its permissions", path = path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A folder holds no file of the split.
    #[error(
        "{place} holds no {split} file ({split}-*.parquet, {split}.jsonl or the like), nor does a \
         folder in it; it has {found}"
    )]
    NoFiles {
        /// The folder or data set.
        place: String,
        /// The split.
        split: Split,
        /// The splits that it has, in words.
        found: String,
    },
    /// Some of a split's numbered files are missing.
    #[error(
        "{place} holds {found} of the {expected} files that {file} is one of; download the \
         missing ones"
    )]
    MissingShards {
        /// The folder or data set.
        place: String,
        /// A file that is there.
        file: String,
        /// How many files are there.
        found: usize,
        /// How many files there should be, by the name of `file`.
        expected: usize,
    },
    /// The hub fails.
    #[error(transparent)]
    Hub(#[from] HubError),
}
