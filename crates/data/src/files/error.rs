//! Why the files of a source cannot be found or downloaded.

use std::path::PathBuf;

use hf_hub::api::sync::ApiError;

use super::split::Split;

/// Why the files of a source cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source is an empty string.
    #[error("the data source is empty; give a parquet file, a folder of them, or hub:owner/name")]
    EmptySource,
    /// A string that begins with `hub:` does not name a data set.
    #[error(
        "`{0}` does not name a data set on the hub; write hub:owner/name, hub:owner/name/folder \
         or hub:owner/name@revision"
    )]
    HubName(String),
    /// There is no such file or folder.
    #[error(
        "{path} does not exist; give a parquet file, a folder of them, or hub:owner/name",
        path = .0.display()
    )]
    NotFound(PathBuf),
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
        "{place} holds no {split} file ({split}-*.parquet or {split}.parquet), nor does a folder \
         in it; it has {found}"
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

/// Why a data set cannot be downloaded from the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// There is no such data set or revision, or it is not public: the hub answers 401 for both.
    #[error(
        "{endpoint} answers {status} for {dataset}: there is no such data set or revision, or it \
         is not public; check the name, or set HF_TOKEN if you have access to it"
    )]
    NotFound {
        /// The hub's address.
        endpoint: String,
        /// The data set.
        dataset: String,
        /// The HTTP status.
        status: u16,
    },
    /// The hub does not answer, and the cache does not hold the files.
    #[error(
        "{dataset} could not be downloaded from the hub: {endpoint} gives no answer ({source}), \
         and {cached}; check the network, or set HF_ENDPOINT to a mirror"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// The data set.
        dataset: String,
        /// The cause.
        source: Box<ApiError>,
        /// What the cache lacks.
        cached: String,
    },
    /// Only the cache may be read, and it does not hold the files.
    #[error("offline (HF_HUB_OFFLINE is set), and {cached}; run once with access to the hub")]
    Offline {
        /// What the cache lacks.
        cached: String,
    },
    /// A file cannot be downloaded.
    #[error(
        "{file} could not be downloaded from {endpoint}: {source}; try again (the part that \
         arrived is kept)"
    )]
    Download {
        /// The file.
        file: String,
        /// The hub's address.
        endpoint: String,
        /// The cause.
        source: Box<ApiError>,
    },
    /// The cache cannot be written.
    #[error(
        "cannot write {path}: {source}; set HF_HUB_CACHE or HF_HOME to a writable folder",
        path = path.display()
    )]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
