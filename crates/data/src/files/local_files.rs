//! The files on disk that a path, a pattern or several of them stand for.

use std::path::{Path, PathBuf};

use super::data_file::DataFile;
use super::error::SourceError;
use super::folder::list_files;
use super::split::Split;
use super::split_files::split_files;

/// The files of a split, in the order of their names; several paths in their own order.
pub(crate) fn local_files(path: &Path, split: Split) -> Result<Vec<DataFile>, SourceError> {
    if path.exists() {
        return of_path(path, split);
    }
    // Commas and patterns are written in UTF-8.
    let text = path.to_str().unwrap_or_default();
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if parts.len() > 1 && parts.iter().all(|part| !part.is_empty()) {
        let files = parts.iter().map(|part| of_path_or_pattern(part, split));
        return Ok(files.collect::<Result<Vec<_>, _>>()?.concat());
    }
    match text.is_empty() {
        true => of_path(path, split),
        false => of_path_or_pattern(text, split),
    }
}

fn of_path_or_pattern(text: &str, split: Split) -> Result<Vec<DataFile>, SourceError> {
    let path = Path::new(text);
    if path.exists() || !text.contains(['*', '?', '[']) {
        return of_path(path, split);
    }
    let paths = glob::glob(text).map_err(|error| SourceError::Pattern {
        pattern: text.to_owned(),
        problem: error.msg,
    })?;
    let paths: Result<Vec<PathBuf>, SourceError> = paths
        .map(|path| {
            path.map_err(|error| SourceError::List {
                path: error.path().to_owned(),
                source: error.into(),
            })
        })
        .collect();
    let files: Vec<DataFile> = paths?
        .iter()
        .filter(|path| path.is_file())
        .map(|path| local_file(path))
        .collect();
    match files.is_empty() {
        true => Err(SourceError::NoMatch(text.to_owned())),
        false => Ok(files),
    }
}

fn of_path(path: &Path, split: Split) -> Result<Vec<DataFile>, SourceError> {
    if path.is_file() {
        return Ok(vec![local_file(path)]);
    }
    if path.is_dir() {
        let names = list_files(path)?;
        let place = path.display().to_string();
        let names = split_files(names.iter().map(String::as_str), split, &place)?;
        let files = names.iter().map(|name| local_file(&path.join(name)));
        return Ok(files.collect());
    }
    Err(match path.exists() {
        true => SourceError::NotAFile(path.to_owned()),
        false => SourceError::NotFound(path.to_owned()),
    })
}

fn local_file(path: &Path) -> DataFile {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().and_then(Path::file_name);
    DataFile {
        path: path.to_owned(),
        name: path.display().to_string().into(),
        folder: folder
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    }
}
