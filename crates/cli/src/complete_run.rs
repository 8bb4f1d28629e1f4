//! Whether a complete run is still what its process left.

use miette::{IntoDiagnostic, Result};
use plw_files::Verified;
use plw_record::{RunDirectory, latest_checkpoint};
use plw_train::check_saved_model;

/// Compares a complete run's records, and the model in its last checkpoint, with their digests.
pub(crate) fn check_complete(directory: &RunDirectory) -> Result<()> {
    let (_, verified) = directory.read_summary().into_diagnostic()?;
    if verified == Verified::WithoutDigests {
        tracing::warn!(
            "{} is of an earlier version of plw, which kept no digests: whether its records are as \
             they were written cannot be checked",
            directory.name()
        );
    }
    // Whoever needs the space may have removed the checkpoint.
    match latest_checkpoint(directory.checkpoints()).into_diagnostic()? {
        Some(checkpoint) => check_saved_model(&checkpoint).into_diagnostic(),
        None => Ok(()),
    }
}
