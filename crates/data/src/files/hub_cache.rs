//! The cache of downloads, in the layout of Python's huggingface_hub: the files that it holds, and
//! what it lacks. Downloads nothing.

use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo};
use plw_files::write_atomic;

use super::data_file::DataFile;
use super::error::{HubError, SourceError};
use super::folder::list_files;
use super::hub_dataset::{HubDataset, hub_file};
use super::split::Split;

/// The files of a split, if the cache holds them all.
pub(crate) fn cached_files(
    cache: &Path,
    dataset: &HubDataset,
    split: Split,
) -> Result<Vec<DataFile>, NotCached> {
    let lacks = |what: String| {
        NotCached::Lacks(format!("{} is not in the cache {}", what, cache.display()))
    };
    let commits = Cache::new(cache.to_owned()).repo(dataset.at(dataset.revision()));
    let repository = repository_folder(&commits);
    let reference = std::fs::read_to_string(repository.join("refs").join(dataset.revision()));
    // A commit has a reference only if it was downloaded by its hash.
    let commit = reference.map_or_else(
        |_| dataset.revision().to_owned(),
        |commit| commit.trim().to_owned(),
    );
    let snapshot = commits.pointer_path(&commit);
    let names = match std::fs::read(listing_path(&repository, &commit)) {
        Ok(listing) => serde_json::from_slice(&listing).map_err(|_| lacks(dataset.to_string()))?,
        // Downloaded by another program: what it downloaded counts as the whole data set.
        Err(_) if snapshot.is_dir() => list_below(&snapshot, &dataset.folder)?,
        Err(_) => return Err(lacks(dataset.to_string())),
    };
    let chosen = dataset.choose(&names, split)?;
    let of_file = |file: &String| match snapshot.join(file) {
        path if path.is_file() => Ok(hub_file(dataset, path, file)),
        _ => Err(lacks(dataset.name_of(file))),
    };
    chosen.iter().map(of_file).collect()
}

/// Keeps the listing of a commit beside its snapshot, to tell later what the cache lacks.
pub(crate) fn keep_listing(
    cache: &Path,
    dataset: &HubDataset,
    commit: &str,
    names: &[String],
) -> Result<(), HubError> {
    let commits = Cache::new(cache.to_owned()).repo(dataset.at(dataset.revision()));
    let path = listing_path(&repository_folder(&commits), commit);
    let listing = serde_json::Value::from(names).to_string();
    write_atomic(path, listing).map_err(|error| HubError::Cache {
        path: error.path,
        source: error.source,
    })
}

/// Why the cache gives no files.
pub(crate) enum NotCached {
    /// It lacks a file or the data set: a phrase that says which.
    Lacks(String),
    /// It has the data set, but the data set has no such split.
    Source(SourceError),
}

impl NotCached {
    /// The error to return; `lacks` makes it of what the cache lacks.
    pub(crate) fn into_error(self, lacks: impl FnOnce(String) -> HubError) -> SourceError {
        match self {
            Self::Lacks(what) => lacks(what).into(),
            Self::Source(error) => error,
        }
    }
}

impl From<SourceError> for NotCached {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// The files below `snapshot/folder`, relative to the snapshot.
fn list_below(snapshot: &Path, folder: &str) -> Result<Vec<String>, SourceError> {
    let place = snapshot.join(folder);
    if place.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    if !place.is_dir() {
        return Ok(Vec::new());
    }
    let prefix = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    Ok(list_files(&place)?
        .into_iter()
        .map(|name| prefix.clone() + &name)
        .collect())
}

/// `datasets--owner--name` in the cache: the folder above `snapshots/COMMIT`.
fn repository_folder(cache: &CacheRepo) -> PathBuf {
    let mut path = cache.pointer_path("commit");
    path.pop();
    path.pop();
    path
}

/// The file of a commit's listing; huggingface_hub reads only `blobs`, `refs` and `snapshots`.
fn listing_path(repository: &Path, commit: &str) -> PathBuf {
    repository.join("listings").join(format!("{commit}.json"))
}
