//! Where rows come from: which parquet files a file, a folder or a data set on the hub stands for. Knows names and
//! layouts; reads no row.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hub::{Hub, HubError};
use crate::hub_dataset::HubDataset;
use crate::split::{Split, split_files};

/// Where rows come from, written as a string: a path, or `hub:owner/name[/folder][@revision]`.
///
/// A path that is a file is read whole, whatever split is asked for. A folder (on disk or on the hub) stands for the
/// files `{split}-*.parquet` or `{split}.parquet` that it holds; if it holds none, for those of its sub-folders, in the
/// order of their names. RACE's folder `all` repeats the questions of `high` and `middle`, and no question is to be read
/// twice. So where `high` and `middle` both stand beside it `all` is left out, otherwise `all` alone is read; and
/// `race/all` names it outright. Of files numbered `-00000-of-00002` all must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Source {
    /// A parquet file or a folder of such.
    Path(PathBuf),
    /// A data set on the Hugging Face hub, or a folder or file of it.
    Hub(HubDataset),
}

/// One parquet file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Where it lies on this machine.
    pub path: PathBuf,
    /// What it is called in examples, predictions and errors: its path as the source was given, or
    /// `hub:owner/name/folder/file`, which does not depend on the machine's cache.
    pub name: Arc<str>,
    /// The name of the folder that holds it: the level of rows whose `example_id` tells none.
    pub folder: String,
}

/// Why a source's files could not be told.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No split is called so.
    #[error("`{0}` is no split; use train, validation or test")]
    Split(String),
    /// The source's string says nothing.
    #[error(
        "the source of rows is empty; give a parquet file, a folder of them, or hub:owner/name"
    )]
    EmptySource,
    /// A string that begins with `hub:` and goes on otherwise than it should.
    #[error(
        "`{0}` is no data set on the hub; write hub:owner/name, hub:owner/name/folder or hub:owner/name@revision"
    )]
    HubName(String),
    /// Nothing is there.
    #[error("there is no file or folder {path}; give a parquet file, a folder of them, or hub:owner/name", path = .0.display())]
    NotFound(PathBuf),
    /// A folder could not be listed.
    #[error("cannot list {path}: {source}; check that it may be read", path = path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A folder holds no file of the split.
    #[error(
        "{place} holds no {split} file ({split}-*.parquet or {split}.parquet), nor does a folder in it; it has {found}"
    )]
    NoFiles {
        /// The folder or data set.
        place: String,
        /// The split asked for.
        split: Split,
        /// The splits that are there, or that there is none.
        found: String,
    },
    /// Some of a split's numbered files are missing.
    #[error("{place} holds {found} of the {expected} files of {file}; fetch the missing ones")]
    MissingShards {
        /// The folder or data set.
        place: String,
        /// One of those that are there.
        file: String,
        /// How many are there.
        found: usize,
        /// How many there should be by the file's own name.
        expected: usize,
    },
    /// The hub could not be asked, or said no.
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text.strip_prefix("hub:") {
            Some(_) => Ok(Self::Hub(text.parse()?)),
            None if text.is_empty() => Err(SourceError::EmptySource),
            None => Ok(Self::Path(text.into())),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(formatter),
            Self::Hub(dataset) => dataset.fmt(formatter),
        }
    }
}

impl Source {
    /// The files of a split, in the order of their names; those on the hub are fetched first, unless cached.
    pub fn files(&self, split: Split, hub: &Hub) -> Result<Vec<DataFile>, SourceError> {
        match self {
            Self::Hub(dataset) => hub.files(dataset, split),
            Self::Path(path) if path.is_file() => Ok(vec![local_file(path)]),
            Self::Path(path) if path.is_dir() => {
                let names = list_files(path)?;
                let names = split_files(
                    names.iter().map(String::as_str),
                    split,
                    &path.display().to_string(),
                )?;
                Ok(names
                    .iter()
                    .map(|name| local_file(&path.join(name)))
                    .collect())
            }
            Self::Path(path) => Err(SourceError::NotFound(path.clone())),
        }
    }
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

/// The files of a folder and of its sub-folders, relative to it, with `/` between the parts. Hidden ones are left out.
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
        // A name that is not UTF-8 is none that a split's file has.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_written_as_strings() {
        for text in [
            "race/middle",
            "a.parquet",
            "hub:ehovy/race",
            "hub:ehovy/race/middle",
            "hub:o/n/a/b.parquet@refs/pr/1",
        ] {
            let source: Source = text.parse().expect(text);
            assert_eq!(source.to_string(), text);
            let json = serde_json::to_string(&source).expect(text);
            assert_eq!(serde_json::from_str::<Source>(&json).expect(text), source);
        }
        for text in [
            "",
            "hub:",
            "hub:race",
            "hub:o/",
            "hub:o/n@",
            "hub:o/../n",
            "hub:o/n/",
            "hub:o/n@../x",
            "hub:o/n?x",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
