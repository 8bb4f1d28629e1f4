//! The name of a data set on the Hugging Face hub, and the files that it stands for. Knows names;
//! downloads nothing.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hf_hub::{Repo, RepoType};

use super::data_file::DataFile;
use super::error::SourceError;
use super::split::Split;
use super::split_files::split_files;

/// A data set on the hub, or a folder or file of it, written `hub:owner/name[/folder][@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubDataset {
    /// `owner/name`.
    pub repository: String,
    /// A folder (RACE has `all`, `high` and `middle`) or a parquet file in it; empty for the whole.
    pub folder: String,
    /// A branch, tag, `refs/pr/N` or commit; `main` if not given.
    pub revision: Option<String>,
}

impl FromStr for HubDataset {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        // The parts become URLs and paths in the cache.
        let is_name = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        let name = text.strip_prefix("hub:").unwrap_or(text);
        let (name, revision) = match name.split_once('@') {
            Some((name, revision)) => (name, Some(revision.to_owned())),
            None => (name, None),
        };
        let parts: Vec<&str> = name.split('/').collect();
        let parts_of_revision = revision.iter().flat_map(|revision| revision.split('/'));
        if parts.len() < 2 || !parts.iter().copied().chain(parts_of_revision).all(is_name) {
            return Err(SourceError::HubName(text.to_owned()));
        }
        Ok(Self {
            repository: parts[..2].join("/"),
            folder: parts[2..].join("/"),
            revision,
        })
    }
}

impl fmt::Display for HubDataset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name_of(&self.folder))
    }
}

impl HubDataset {
    /// The name of a file or folder of the repository on the command line and in errors.
    pub(crate) fn name_of(&self, path: &str) -> String {
        let slash = if path.is_empty() { "" } else { "/" };
        let revision = self
            .revision
            .as_ref()
            .map(|revision| format!("@{revision}"))
            .unwrap_or_default();
        format!("hub:{}{slash}{path}{revision}", self.repository)
    }

    /// The revision, `main` by default.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The repository at a revision, as hf-hub calls it.
    pub(crate) fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(
            self.repository.clone(),
            RepoType::Dataset,
            revision.to_owned(),
        )
    }

    /// The files of a split among a repository's.
    pub(crate) fn choose(
        &self,
        files: &[String],
        split: Split,
    ) -> Result<Vec<String>, SourceError> {
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
}

/// A file of the repository whose copy on this machine is at `path`.
pub(crate) fn hub_file(dataset: &HubDataset, path: PathBuf, file: &str) -> DataFile {
    // The folder of a file at the top is the data set itself: `race` of `ehovy/race`.
    let place = file
        .rsplit_once('/')
        .map_or(dataset.repository.as_str(), |(folder, _)| folder);
    let folder = place.rsplit('/').next().unwrap_or(place).to_owned();
    DataFile {
        path,
        name: dataset.name_of(file).into(),
        folder,
    }
}
