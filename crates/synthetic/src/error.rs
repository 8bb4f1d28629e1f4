//! Why synthetic data cannot be made, and the checks that settings have in common.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use plw_data::{SourceError, WriteError};

/// Why synthetic data cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// A setting is outside its bounds.
    #[error("synthetic data: {name} is {value}; it must be {wanted}")]
    Setting {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// The values that it may have.
        wanted: String,
    },
    /// The folder holds a split's file of another data set; a reader of the folder would read it.
    #[error(
        "{folder} holds {file}, which belongs to another data set; choose an empty folder",
        folder = folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// The file in it.
        file: String,
    },
    /// A folder cannot be listed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Checks that a setting is a share.
pub(crate) fn check_share(name: &str, value: f64) -> Result<(), SyntheticError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(SyntheticError::Setting {
        name: name.to_owned(),
        value: value.to_string(),
        wanted: "a share between 0 and 1".to_owned(),
    })
}

/// Checks that a setting is a range, the least value first, within `bounds`.
pub(crate) fn check_range(
    name: &str,
    [least, greatest]: [usize; 2],
    bounds: RangeInclusive<usize>,
) -> Result<(), SyntheticError> {
    if least <= greatest && bounds.contains(&least) && bounds.contains(&greatest) {
        return Ok(());
    }
    Err(SyntheticError::Setting {
        name: name.to_owned(),
        value: format!("{least} to {greatest}"),
        wanted: format!("within {} and {}", bounds.start(), bounds.end()),
    })
}
