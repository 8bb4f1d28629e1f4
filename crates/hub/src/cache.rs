//! The folder of a repository in the cache, in the layout of huggingface_hub: `blobs/ETAG`,
//! `snapshots/COMMIT/PATH` (links to blobs) and `refs/REVISION`. Downloads nothing.

use std::io;
use std::path::{Path, PathBuf};

use plw_files::write_atomic;

use crate::error::HubError;
use crate::etag::Etag;
use crate::listing::Listing;
use crate::names::{is_commit, stays_inside};
use crate::repository::Repository;

/// The folder of a repository.
pub(crate) struct RepositoryCache {
    /// The cache.
    pub(crate) root: PathBuf,
    name: String,
    revision: String,
}

impl RepositoryCache {
    pub(crate) fn new(root: &Path, repository: &Repository) -> Self {
        Self {
            root: root.to_owned(),
            name: repository.folder(),
            revision: repository.revision().to_owned(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    pub(crate) fn blob(&self, etag: &Etag) -> PathBuf {
        self.folder().join("blobs").join(etag.as_str())
    }

    pub(crate) fn lock(&self, etag: &Etag) -> PathBuf {
        let locks = self.root.join(".locks").join(&self.name);
        locks.join(format!("{}.lock", etag.as_str()))
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    fn reference(&self) -> PathBuf {
        self.folder().join("refs").join(&self.revision)
    }

    /// huggingface_hub reads only `blobs`, `refs` and `snapshots`.
    fn listing(&self, commit: &str) -> PathBuf {
        self.folder()
            .join("listings")
            .join(format!("{commit}.json"))
    }

    /// The commit that the revision stood for when the hub was last asked.
    pub(crate) fn commit(&self) -> Option<String> {
        let reference = std::fs::read_to_string(self.reference());
        // A commit has a reference only if another program wrote one.
        let commit = reference.map_or(self.revision.clone(), |commit| commit.trim().to_owned());
        is_commit(&commit).then_some(commit)
    }

    /// The names of a commit's files, if the hub was asked for them before.
    pub(crate) fn listed(&self, commit: &str) -> Option<Vec<String>> {
        let listing = std::fs::read(self.listing(commit)).ok()?;
        let names: Vec<String> = serde_json::from_slice(&listing).ok()?;
        names.iter().all(|name| stays_inside(name)).then_some(names)
    }

    /// The names of a commit's files that are in the cache, if any is.
    pub(crate) fn found(&self, commit: &str) -> Option<Vec<String>> {
        let mut names = Vec::new();
        list_below(&self.snapshot(commit), "", &mut names).ok()?;
        names.sort();
        Some(names)
    }

    /// Keeps a commit's listing, to tell later what the cache lacks.
    pub(crate) fn keep_listing(&self, listing: &Listing) -> Result<(), HubError> {
        let names = serde_json::Value::from(listing.files.as_slice()).to_string();
        write_changed(&self.listing(&listing.commit), &names)
    }

    /// Keeps which commit the revision stands for.
    pub(crate) fn keep_reference(&self, commit: &str) -> Result<(), HubError> {
        if is_commit(&self.revision) {
            return Ok(());
        }
        write_changed(&self.reference(), commit)
    }

    /// Makes the blob of a file the content of its path in a commit. The blob's lock is held.
    pub(crate) fn link(&self, commit: &str, file: &str, etag: &Etag) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        if path.is_file() {
            return Ok(());
        }
        let up = "../".repeat(file.split('/').count() + 1);
        let target = format!("{up}blobs/{}", etag.as_str());
        let linked = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => symbolic_link(&target, &path, &self.blob(etag)),
            });
        linked.map_err(HubError::cache(&path))
    }
}

/// Writes a file unless it has that content already: the cache may be read-only.
fn write_changed(path: &Path, content: &str) -> Result<(), HubError> {
    if std::fs::read(path).is_ok_and(|old| old == content.as_bytes()) {
        return Ok(());
    }
    Ok(write_atomic(path, content)?)
}

/// Adds the files below a folder, as `prefix` and their relative path.
fn list_below(folder: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // The hub's names are UTF-8.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let name = format!("{prefix}{name}");
        // Links are files: the cache has no links to folders.
        if entry.file_type()?.is_dir() {
            list_below(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

#[cfg(unix)]
fn symbolic_link(target: &str, path: &Path, blob: &Path) -> io::Result<()> {
    match std::os::unix::fs::symlink(target, path) {
        // The file system knows no links.
        Err(_) => std::fs::copy(blob, path).map(drop),
        Ok(()) => Ok(()),
    }
}

/// As in huggingface_hub, a copy where links need special rights.
#[cfg(not(unix))]
fn symbolic_link(_target: &str, path: &Path, blob: &Path) -> io::Result<()> {
    std::fs::copy(blob, path).map(drop)
}
