//! Whether a complete run is still what its process left.

use miette::{IntoDiagnostic, Result};
use plw_record::{RunDirectory, latest_checkpoint};
use plw_train::check_saved_model;

/// Compares a complete run's records, and the model in its last checkpoint, with their digests.
pub(crate) fn check_complete(directory: &RunDirectory) -> Result<()> {
    directory.read_summary().into_diagnostic()?;
    // Whoever needs the space may have removed the checkpoint.
    match latest_checkpoint(directory.checkpoints()).into_diagnostic()? {
        Some(checkpoint) => check_saved_model(&checkpoint).into_diagnostic(),
        None => Ok(()),
    }
}
