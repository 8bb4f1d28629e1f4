//! The files of a repository: from the cache where that is enough, else from the hub.

use std::path::PathBuf;

use crate::blob::{Download, Failure};
use crate::cache::RepositoryCache;
use crate::client::Client;
use crate::error::{HubError, RequestError};
use crate::hub::Hub;
use crate::listing::{Listing, listing};
use crate::metadata::metadata;
use crate::names::is_commit;
use crate::repository::Repository;
use crate::retry::retry;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// Its path in the repository.
    pub name: String,
    /// Its path on this machine.
    pub path: PathBuf,
}

/// Why the cache gives no files.
enum NotCached<E> {
    /// It lacks a file or the repository: a phrase that says which.
    Lacks(String),
    /// It has the repository, and the caller found no file to choose.
    Choice(E),
}

/// Which files of a commit the cache takes for all.
#[derive(Clone, Copy)]
enum Names {
    /// Those that the hub listed.
    Listed,
    /// Without a listing, those that another program downloaded.
    ListedOrFound,
}

impl Hub {
    /// The files that `choose` picks among the names of all files of a repository, downloaded
    /// unless the cache holds them.
    ///
    /// The hub is asked which commit the revision stands for; if it does not answer, the cache's
    /// own answer counts. A revision that is a commit needs no question once its files are cached.
    ///
    /// # Errors
    /// [`HubError`], or the error of `choose`.
    pub fn files<E: From<HubError>>(
        &self,
        repository: &Repository,
        choose: impl Fn(&[String]) -> Result<Vec<String>, E>,
    ) -> Result<Vec<HubFile>, E> {
        let cache = RepositoryCache::new(&self.cache, repository);
        let from_cache = |names| cached(&cache, repository, &choose, names);
        if self.offline {
            return from_cache(Names::ListedOrFound).map_err(|not| match not {
                NotCached::Lacks(cached) => HubError::Offline { cached }.into(),
                NotCached::Choice(error) => error,
            });
        }
        if is_commit(repository.revision())
            && let Ok(files) = from_cache(Names::Listed)
        {
            return Ok(files);
        }
        let client = Client::new(self)?;
        let ask = || listing(&client, repository);
        let listing = match ask() {
            Err(failure) if failure.is_transient() && from_cache(Names::ListedOrFound).is_err() => {
                retry(self.timeouts.pause, ask)
            }
            answer => answer,
        };
        let listing = match listing {
            Ok(listing) => listing,
            Err(failure) => {
                let unreachable = self.without_listing(repository, failure)?;
                return from_cache(Names::ListedOrFound).map_err(|not| match not {
                    NotCached::Lacks(cached) => unreachable(cached).into(),
                    NotCached::Choice(error) => error,
                });
            }
        };
        cache.keep_listing(&listing)?;
        let chosen = choose(&listing.files)?;
        let files = chosen.into_iter().map(|name| {
            let path = self.downloaded(&client, &cache, repository, &listing, &name)?;
            Ok(HubFile { name, path })
        });
        let files: Vec<HubFile> = files.collect::<Result<_, HubError>>()?;
        // Last, so that an interrupted download leaves the reference at the commit read before.
        cache.keep_reference(&listing.commit)?;
        Ok(files)
    }

    /// One file of a repository, like [`Hub::files`].
    ///
    /// # Errors
    /// [`HubError`]; [`HubError::NoFile`] if there is no such file.
    pub fn file(&self, repository: &Repository, path: &str) -> Result<PathBuf, HubError> {
        let files = self.files(repository, |_| Ok::<_, HubError>(vec![path.to_owned()]))?;
        let file = files.into_iter().next().map(|file| file.path);
        file.ok_or_else(|| HubError::NoFile(repository.name_of(path)))
    }

    /// The path of a listed file, downloaded unless the cache holds it.
    fn downloaded(
        &self,
        client: &Client,
        cache: &RepositoryCache,
        repository: &Repository,
        listing: &Listing,
        name: &str,
    ) -> Result<PathBuf, HubError> {
        let shown = repository.name_of(name);
        if !listing.files.iter().any(|file| file == name) {
            return Err(HubError::NoFile(shown));
        }
        let path = cache.snapshot(&listing.commit).join(name);
        if path.is_file() {
            return Ok(path);
        }
        let failed = |failure| {
            HubError::of_request(
                repository.kind(),
                shown.clone(),
                self.token.as_deref(),
                failure,
            )
        };
        let url = client
            .url(&repository.file_path(&listing.commit, name))
            .map_err(failed)?;
        let ask = || metadata(client, &url, &listing.commit);
        let metadata = retry(self.timeouts.pause, ask).map_err(failed)?;
        let download = Download {
            client,
            name: &shown,
            url: &url,
            metadata: &metadata,
            progress: self.progress.as_ref(),
        };
        let etag = &metadata.etag;
        match download.to_blob(&cache.blob(etag), &cache.lock(etag)) {
            Ok(_lock) => cache.link(&listing.commit, name, etag)?,
            Err(Failure::Request(failure)) => return Err(failed(failure)),
            Err(Failure::Cache(error)) => return Err(error),
        }
        Ok(path)
    }

    /// What the hub's silence means: an error if it did answer, but not with a listing; else the
    /// error to return if the cache lacks what it is given.
    fn without_listing(
        &self,
        repository: &Repository,
        failure: RequestError,
    ) -> Result<impl FnOnce(String) -> HubError, HubError> {
        let name = repository.to_string();
        if matches!(
            failure,
            RequestError::Refused { .. } | RequestError::Untrusted { .. }
        ) {
            let token = self.token.as_deref();
            return Err(HubError::of_request(
                repository.kind(),
                name,
                token,
                failure,
            ));
        }
        Ok(|cached| HubError::Unreachable {
            repository: name,
            cached,
            source: Box::new(failure),
        })
    }
}

/// The chosen files, if the cache holds them all.
fn cached<E>(
    cache: &RepositoryCache,
    repository: &Repository,
    choose: impl Fn(&[String]) -> Result<Vec<String>, E>,
    names: Names,
) -> Result<Vec<HubFile>, NotCached<E>> {
    let lacks = |what| {
        NotCached::Lacks(format!(
            "{what} is not in the cache {}",
            cache.root.display()
        ))
    };
    let commit = cache
        .commit()
        .ok_or_else(|| lacks(repository.to_string()))?;
    let found = || match names {
        Names::Listed => None,
        Names::ListedOrFound => cache.found(&commit),
    };
    let all = cache.listed(&commit).or_else(found);
    let all = all.ok_or_else(|| lacks(repository.to_string()))?;
    let chosen = choose(&all).map_err(NotCached::Choice)?;
    let files = chosen.into_iter().map(|name| {
        let path = cache.snapshot(&commit).join(&name);
        if all.contains(&name) && path.is_file() {
            Ok(HubFile { name, path })
        } else {
            Err(lacks(repository.name_of(&name)))
        }
    });
    files.collect()
}
