//! What a download tells its caller while it runs.

use std::sync::Arc;

/// What a download does right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process downloads the same file; this one waits for it.
    Waiting {
        /// The file, as in `hub:owner/name/path`.
        file: &'a str,
    },
    /// A part of a file is on disk.
    Downloaded {
        /// The file, as in `hub:owner/name/path`.
        file: &'a str,
        /// Its bytes on disk; those of an interrupted download count.
        bytes: u64,
        /// Its length.
        total: u64,
    },
}

/// A function that is told of a download's progress.
pub type ProgressFunction = Arc<dyn Fn(Progress<'_>) + Send + Sync>;
