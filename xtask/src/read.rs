//! Settings and records from files; an error names the file.

use std::collections::BTreeMap;
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde::de::DeserializeOwned;

/// Reads JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    std::fs::read(path)
        .into_diagnostic()
        .and_then(|bytes| serde_json::from_slice(&bytes).into_diagnostic())
        .wrap_err_with(|| format!("cannot read {}", path.display()))
}

/// Reads TOML.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    std::fs::read_to_string(path)
        .into_diagnostic()
        .and_then(|text| toml::from_str(&text).into_diagnostic())
        .wrap_err_with(|| format!("cannot read {}", path.display()))
}

/// Reads the tables `[[NAME]]` of a TOML file that has no others.
pub(crate) fn read_tables<T: DeserializeOwned>(path: &Path, name: &str) -> Result<Vec<T>> {
    let mut tables: BTreeMap<String, Vec<T>> = read_toml(path)?;
    let found = tables.remove(name).filter(|_| tables.is_empty());
    found.ok_or_else(|| miette!("{} has other tables than [[{name}]]", path.display()))
}
