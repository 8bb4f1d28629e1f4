//! What the fuzz targets share. The readers that they call are those of the property tests.

use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary folder can be made"));

/// The folder that a target writes its inputs to.
pub fn folder() -> &'static Path {
    FOLDER.path()
}
