//! Settings and records from files; an error names the file.

use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr};
use serde::de::DeserializeOwned;

/// Reads JSON.
///
/// # Errors
///
/// Where the file is missing or something else.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    std::fs::read(path)
        .into_diagnostic()
        .and_then(|bytes| serde_json::from_slice(&bytes).into_diagnostic())
        .wrap_err_with(|| format!("cannot read {}", path.display()))
}

/// Reads TOML.
///
/// # Errors
///
/// Where the file is missing or something else.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    std::fs::read_to_string(path)
        .into_diagnostic()
        .and_then(|text| toml::from_str(&text).into_diagnostic())
        .wrap_err_with(|| format!("cannot read {}", path.display()))
}
