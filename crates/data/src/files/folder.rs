//! The files of a folder on disk.

use std::path::Path;

use super::error::SourceError;

/// The files of a folder and of its subfolders, relative to it, with `/` between the parts. Hidden
/// files and folders are left out.
///
/// # Errors
/// [`SourceError::List`].
pub fn list_files(folder: &Path) -> Result<Vec<String>, SourceError> {
    let entries = |folder: &Path| -> Result<Vec<String>, SourceError> {
        let failed = |source| SourceError::List {
            path: folder.to_owned(),
            source,
        };
        let names = std::fs::read_dir(folder)
            .map_err(failed)?
            .map(|entry| entry.map(|entry| entry.file_name()));
        let names: Vec<_> = names.collect::<Result<_, _>>().map_err(failed)?;
        // The name of a split's file is ASCII: names that are not UTF-8 are left out.
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    };
    let mut names = Vec::new();
    for name in entries(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            names.extend(
                entries(&path)?
                    .into_iter()
                    .map(|inner| format!("{name}/{inner}")),
            );
        } else {
            names.push(name);
        }
    }
    Ok(names)
}
