//! The name of a data set on the Hugging Face hub, and the files that it stands for.

use std::fmt;
use std::str::FromStr;

use plw_hub::{Hub, HubFile, Repository, RepositoryKind};

use super::data_file::DataFile;
use super::error::SourceError;
use super::split::Split;
use super::split_files::split_files;

/// A data set on the hub, or a folder or file of it, written `hub:owner/name[/folder][@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubDataset {
    /// The data set, at a branch, tag, `refs/pr/N` or commit; at `main` if none is given.
    pub repository: Repository,
    /// A folder (RACE has `all`, `high` and `middle`) or a parquet file in it; empty for the whole.
    pub folder: String,
}

impl FromStr for HubDataset {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let is_name = |part: &&str| {
            !matches!(*part, "" | "." | "..")
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        let name = text.strip_prefix("hub:").unwrap_or(text);
        let (name, revision) = match name.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (name, None),
        };
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() < 2 || !parts.iter().all(is_name) {
            return Err(SourceError::HubName(text.to_owned()));
        }
        let name = parts[..2].join("/");
        let repository = Repository::new(RepositoryKind::Dataset, &name, revision)
            .map_err(|_| SourceError::HubName(text.to_owned()))?;
        Ok(Self {
            repository,
            folder: parts[2..].join("/"),
        })
    }
}

impl fmt::Display for HubDataset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository.name_of(&self.folder))
    }
}

impl HubDataset {
    /// The files of a split, downloaded unless the cache holds them.
    pub(crate) fn files(&self, split: Split, hub: &Hub) -> Result<Vec<DataFile>, SourceError> {
        let files = hub.files(&self.repository, |names| self.choose(names, split))?;
        Ok(files.into_iter().map(|file| self.data_file(file)).collect())
    }

    /// The files of a split among a repository's.
    fn choose(&self, files: &[String], split: Split) -> Result<Vec<String>, SourceError> {
        if files.contains(&self.folder) {
            return Ok(vec![self.folder.clone()]);
        }
        let prefix = if self.folder.is_empty() {
            String::new()
        } else {
            format!("{}/", self.folder)
        };
        let inside = files.iter().filter_map(|file| file.strip_prefix(&prefix));
        let chosen = split_files(inside, split, &self.to_string())?;
        Ok(chosen
            .into_iter()
            .map(|file| prefix.clone() + &file)
            .collect())
    }

    /// A file of the repository as one of the source.
    fn data_file(&self, file: HubFile) -> DataFile {
        // The folder of a file at the top is the data set itself: `race` of `ehovy/race`.
        let place = file
            .name
            .rsplit_once('/')
            .map_or(self.repository.name(), |(folder, _)| folder);
        let folder = place.rsplit('/').next().unwrap_or(place).to_owned();
        DataFile {
            path: file.path,
            name: self.repository.name_of(&file.name).into(),
            folder,
        }
    }
}
