//! Downloads from the Hugging Face hub, into the cache that Python's huggingface_hub shares. Knows
//! the hub's listing and the cache's layout; reads no row.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo};

use super::data_file::DataFile;
use super::error::{HubError, SourceError};
use super::folder::list_files;
use super::hub_dataset::{HubDataset, hub_file};
use super::split::Split;

/// How to reach the hub. [`Hub::from_env`] reads the variables that Python's huggingface_hub reads.
#[derive(Clone)]
pub struct Hub {
    /// The address, without a trailing slash.
    pub endpoint: String,
    /// The folder of downloads, in the layout of huggingface_hub, so that both share it.
    pub cache: PathBuf,
    /// Whether only the cache may be read.
    pub offline: bool,
    /// The access token for data sets that are not public.
    pub token: Option<String>,
}

impl fmt::Debug for Hub {
    /// Leaves the token out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            cache,
            offline,
            token: _,
        } = self;
        let mut hub = formatter.debug_struct("Hub");
        hub.field("endpoint", endpoint)
            .field("cache", cache)
            .field("offline", offline)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// From the environment: `HF_ENDPOINT`, `HF_HUB_CACHE` (else `hub` in `HF_HOME`, else in
    /// `huggingface` in the user's cache folder), `HF_HUB_OFFLINE` (1, on, yes or true) and
    /// `HF_TOKEN` (else the file `token` in `HF_HOME`).
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Like [`Hub::from_env`], with a function that looks up variables; an empty one counts as
    /// unset.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = set("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let user_cache = set("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = user_cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
            cache.unwrap_or_else(std::env::temp_dir).join("huggingface")
        });
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline = set("HF_HUB_OFFLINE").map(|value| value.to_lowercase());
        let token_of_file = || std::fs::read_to_string(home.join("token")).ok();
        let token = set("HF_TOKEN")
            .or_else(token_of_file)
            .map(|token| token.trim().to_owned());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            offline: offline
                .is_some_and(|value| matches!(value.as_str(), "1" | "on" | "yes" | "true")),
            token: token.filter(|token| !token.is_empty()),
        }
    }

    /// The files of a split of a data set, downloaded unless the cache holds them. The hub is asked
    /// which commit the revision stands for; if it does not answer, the cache's own answer counts.
    /// A revision that is a commit needs no question once its files are cached.
    pub(crate) fn files(
        &self,
        dataset: &HubDataset,
        split: Split,
    ) -> Result<Vec<DataFile>, SourceError> {
        let cached = self.cached(dataset, split);
        let revision = dataset.revision();
        let is_commit = revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit());
        if self.offline || (is_commit && cached.is_ok()) {
            return cached.map_err(|error| error.or_else(|cached| HubError::Offline { cached }));
        }
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_retries(3)
            .build();
        let info = api.and_then(|api| {
            api.repo(dataset.at(revision))
                .info()
                .map(|info| (api, info))
        });
        let (api, info) = match info {
            Ok(answer) => answer,
            Err(error) => return self.without_answer(dataset, error, cached),
        };
        let names: Vec<String> = info
            .siblings
            .into_iter()
            .map(|file| file.rfilename)
            .collect();
        let at_commit = Cache::new(self.cache.clone()).repo(dataset.at(&info.sha));
        self.keep_listing(dataset, &info.sha, &names)?;
        let chosen = dataset.choose(&names, split)?;
        let remote = api.repo(dataset.at(&info.sha));
        let downloaded = chosen
            .iter()
            .map(|file| self.download(dataset, &remote, &at_commit, &info.sha, file));
        let downloaded = downloaded.collect::<Result<_, _>>()?;
        // Last, so that an interrupted download leaves the reference at the commit read before.
        let reference = Cache::new(self.cache.clone())
            .repo(dataset.at(revision))
            .create_ref(&info.sha);
        reference.map_err(|source| HubError::Cache {
            path: self.cache.clone(),
            source,
        })?;
        Ok(downloaded)
    }

    /// A file of a commit: from the cache, else from the hub.
    fn download(
        &self,
        dataset: &HubDataset,
        remote: &ApiRepo,
        cache: &CacheRepo,
        commit: &str,
        file: &str,
    ) -> Result<DataFile, HubError> {
        let cached = cache.pointer_path(commit).join(file);
        let path = if cached.is_file() {
            cached
        } else {
            let failed = |source| HubError::Download {
                file: dataset.name_of(file),
                endpoint: self.endpoint.clone(),
                source: Box::new(source),
            };
            remote.download(file).map_err(failed)?
        };
        Ok(hub_file(dataset, path, file))
    }

    /// The result if the hub gives no listing: an error if it says that there is no such data set,
    /// else the files of the cache.
    fn without_answer(
        &self,
        dataset: &HubDataset,
        error: ApiError,
        cached: Result<Vec<DataFile>, NotCached>,
    ) -> Result<Vec<DataFile>, SourceError> {
        let (endpoint, name) = (self.endpoint.clone(), dataset.to_string());
        if let ApiError::RequestError(request) = &error
            && let ureq::Error::StatusCode(status @ (401 | 403 | 404)) = **request
        {
            return Err(HubError::NotFound {
                endpoint,
                dataset: name,
                status,
            }
            .into());
        }
        let source = Box::new(error);
        cached.map_err(|not| {
            not.or_else(|cached| HubError::Unreachable {
                endpoint,
                dataset: name,
                source,
                cached,
            })
        })
    }

    /// The files of a split, if the cache holds them all.
    fn cached(&self, dataset: &HubDataset, split: Split) -> Result<Vec<DataFile>, NotCached> {
        let lacks = |what: String| {
            NotCached::Lacks(format!(
                "{} is not in the cache {}",
                what,
                self.cache.display()
            ))
        };
        let cache = Cache::new(self.cache.clone()).repo(dataset.at(dataset.revision()));
        let repository = repository_folder(&cache);
        let reference = std::fs::read_to_string(repository.join("refs").join(dataset.revision()));
        // A commit has a reference only if it was downloaded by its hash.
        let commit = reference.map_or_else(
            |_| dataset.revision().to_owned(),
            |commit| commit.trim().to_owned(),
        );
        let snapshot = cache.pointer_path(&commit);
        let names = match std::fs::read(listing_path(&repository, &commit)) {
            Ok(listing) => {
                serde_json::from_slice(&listing).map_err(|_| lacks(dataset.to_string()))?
            }
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
    fn keep_listing(
        &self,
        dataset: &HubDataset,
        commit: &str,
        names: &[String],
    ) -> Result<(), HubError> {
        let cache = Cache::new(self.cache.clone()).repo(dataset.at(dataset.revision()));
        let path = listing_path(&repository_folder(&cache), commit);
        let write = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(&self.cache);
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(names)?)?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| HubError::Cache {
            path: path.clone(),
            source,
        })
    }
}

/// Why the cache gives no files.
enum NotCached {
    /// It lacks a file or the data set: a phrase that says which.
    Lacks(String),
    /// It has the data set, but the data set has no such split.
    Source(SourceError),
}

impl NotCached {
    fn or_else(self, lacks: impl FnOnce(String) -> HubError) -> SourceError {
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
