//! Opens a file only if it is one: opening a pipe would wait for a writer.

use std::fs::File;

use super::error::RowError;
use crate::files::DataFile;

/// Opens a regular file.
pub(crate) fn open_regular(file: &DataFile) -> Result<File, RowError> {
    let failed = |source| RowError::Open {
        file: file.name.clone(),
        source,
    };
    if !std::fs::metadata(&file.path).map_err(failed)?.is_file() {
        return Err(RowError::NotRegular {
            file: file.name.clone(),
        });
    }
    File::open(&file.path).map_err(failed)
}
