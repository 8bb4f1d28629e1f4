//! A source of rows: a path, or a data set on the hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use plw_hub::{Hub, HubError};
use serde::{Deserialize, Serialize};

use super::data_file::DataFile;
use super::error::SourceError;
use super::hub_dataset::HubDataset;
use super::local_files::local_files;
use super::split::Split;

/// Where rows come from, written as a string: a path, or `hub:owner/name[/folder][@revision]`.
///
/// A path is that of a file, a folder or a pattern (`data/*.jsonl`); commas separate several. What
/// exists as it is written is taken as it is written. A file is read whole, whatever the split. A
/// folder (on disk or on the hub) stands for its files `{split}-*` or `{split}` of any format, such
/// as `train-00000-of-00001.parquet` or `train.jsonl`; if it has none, for those of its subfolders,
/// in the order of their names. If no file names a split, all are training data. Of files in
/// several formats those of one are read: parquet, else Arrow, JSON, separated values. All files
/// numbered `-00000-of-00002` must be there.
///
/// RACE's folder `all` repeats the questions of `high` and `middle`, and no question may be read
/// twice. So `all` is left out if both `high` and `middle` are beside it; otherwise `all` alone is
/// read. The source `race/all` always names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Source {
    /// A file, a folder, a pattern, or several of them.
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
            Self::Path(path) => local_files(path, split),
        }
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
            "a/*.jsonl,b.csv",
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
