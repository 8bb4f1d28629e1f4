//! A source of rows: a path, or a data set on the hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use plw_hub::{Hub, HubError};
use serde::{Deserialize, Serialize};

use super::data_file::DataFile;
use super::error::SourceError;
use super::folder::list_files;
use super::hub_dataset::HubDataset;
use super::split::Split;
use super::split_files::split_files;

/// Where rows come from, written as a string: a path, or `hub:owner/name[/folder][@revision]`.
///
/// A file is read whole, whatever the split. A folder (on disk or on the hub) stands for its files
/// `{split}-*.parquet` or `{split}.parquet`; if it has none, for those of its subfolders, in the
/// order of their names. All files numbered `-00000-of-00002` must be there.
///
/// RACE's folder `all` repeats the questions of `high` and `middle`, and no question may be read
/// twice. So `all` is left out if both `high` and `middle` are beside it; otherwise `all` alone is
/// read. The source `race/all` always names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Source {
    /// A parquet file or a folder of them.
    Path(PathBuf),
    /// A data set on the Hugging Face hub, or a folder or file of it.
    Hub(HubDataset),
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
    /// The files of a split, in the order of their names. Files on the hub are downloaded first,
    /// unless they are in the cache. `hub`, such as [`Hub::from_env`], is called for them alone: a
    /// path needs none of its settings.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn files(
        &self,
        split: Split,
        hub: impl FnOnce() -> Result<Hub, HubError>,
    ) -> Result<Vec<DataFile>, SourceError> {
        match self {
            Self::Hub(dataset) => dataset.files(split, &hub()?),
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
            Self::Path(path) if path.exists() => Err(SourceError::NotAFile(path.clone())),
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
