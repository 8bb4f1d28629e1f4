//! One file of a source.

use std::path::PathBuf;
use std::sync::Arc;

/// One file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its path on this machine.
    pub path: PathBuf,
    /// Its name in examples, predictions and errors: its path as the source was given, or
    /// `hub:owner/name/folder/file`, which does not depend on the machine's cache.
    pub name: Arc<str>,
    /// The name of its folder: the level of rows whose `example_id` names none.
    pub folder: String,
}
