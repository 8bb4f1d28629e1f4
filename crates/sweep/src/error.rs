//! What can go wrong where many workers share the runs of a sweep.

use std::path::PathBuf;

use plw_files::FileError;
use plw_record::RecordError;

/// The runs of a sweep cannot be shared, or not be told apart.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A file or directory could not be read, written or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A run's record could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file is no event of a run.
    #[error(
        "{path} is no event of a run ({source}): put it back as it was, or remove the run's folder"
    )]
    Event {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Events of a run are missing.
    #[error(
        "{path} is missing, and later events of the run are there: put it back, or remove the \
         run's folder"
    )]
    MissingEvent {
        /// The first that is missing.
        path: PathBuf,
    },
    /// A run was complete, and its records are gone before they were moved to its folder.
    #[error(
        "{path} is gone, with the records of a complete run: to do it again, remove the run's \
         folder"
    )]
    Gone {
        /// The folder of the attempt.
        path: PathBuf,
    },
    /// The list of a sweep's runs cannot be read or written.
    #[error("{path} is no list of a sweep's runs ({source})")]
    List {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The folder is that of no sweep.
    #[error(
        "{path} holds no sweep: give the folder that `plw sweep --output-dir` named, once a sweep \
         has started there"
    )]
    NoSweep {
        /// The folder.
        path: PathBuf,
    },
    /// A job for a cluster cannot be written.
    #[error("the job cannot be written: {problem}")]
    Job {
        /// Why not.
        problem: String,
    },
}

impl SweepError {
    /// Whether a file is not as it was written, so that another try ends the same. Missing ones may
    /// come back: a run's folder that was removed is begun anew.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Event { .. } | Self::List { .. })
    }
}
