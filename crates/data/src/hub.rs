//! Data sets on the Hugging Face hub: fetched once into the cache that Python's huggingface_hub shares, then read from
//! there. Knows the hub's listing and the cache's layout; reads no row.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo};

use crate::hub_dataset::{HubDataset, hub_file};
use crate::source::{DataFile, SourceError, list_files};
use crate::split::Split;

/// How the hub is reached. [`Hub::from_env`] reads the variables that Python's huggingface_hub reads.
#[derive(Clone)]
pub struct Hub {
    /// The address, without a slash at its end.
    pub endpoint: String,
    /// The folder of downloads, laid out as huggingface_hub lays it out, so that both share it.
    pub cache: PathBuf,
    /// Whether only the cache may be read.
    pub offline: bool,
    /// The access token for data sets that are not open to all.
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

/// Why a data set could not be had from the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub knows no such data set or revision, or does not show it to everyone (it answers 401 for both).
    #[error(
        "{endpoint} answers {status} for {dataset}: there is no such data set or revision, or it is not open to all; \
         check the name, or set HF_TOKEN for one that you have access to"
    )]
    NotFound {
        /// The hub's address.
        endpoint: String,
        /// What was asked for.
        dataset: String,
        /// The HTTP status.
        status: u16,
    },
    /// The hub could not be asked, and the cache does not hold what was asked for.
    #[error(
        "cannot ask {endpoint} for {dataset} ({source}), and {cached}; check the network, or set HF_ENDPOINT to a hub \
         that can be reached"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// What was asked for.
        dataset: String,
        /// Why it could not be asked.
        source: Box<ApiError>,
        /// What the cache lacks.
        cached: String,
    },
    /// Only the cache may be read, and it does not hold what was asked for.
    #[error("offline (HF_HUB_OFFLINE is set), and {cached}; run once with the hub in reach")]
    Offline {
        /// What the cache lacks.
        cached: String,
    },
    /// A file could not be fetched.
    #[error("cannot fetch {file} from {endpoint}: {source}; try again (what has arrived is kept)")]
    Download {
        /// The file.
        file: String,
        /// The hub's address.
        endpoint: String,
        /// Why.
        source: Box<ApiError>,
    },
    /// The cache could not be written.
    #[error("cannot write {path}: {source}; set HF_HUB_CACHE or HF_HOME to a folder that can be written", path = path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Hub {
    /// From the environment: `HF_ENDPOINT`, `HF_HUB_CACHE` (else `hub` in `HF_HOME`, else in `huggingface` in the user's
    /// cache folder), `HF_HUB_OFFLINE` (1, on, yes or true) and `HF_TOKEN` (else the file `token` in `HF_HOME`).
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As [`Hub::from_env`], with the variables looked up by a function; an empty one counts as unset.
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

    /// The files of a split of a data set, fetched unless the cache holds them. The hub is asked which commit the
    /// revision stands for; if it cannot be asked, the cache's own answer is taken. A revision that is a commit is not
    /// asked about once its files are cached.
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
        let fetched = chosen
            .iter()
            .map(|file| self.fetch(dataset, &remote, &at_commit, &info.sha, file));
        let fetched = fetched.collect::<Result<_, _>>()?;
        // Only now, so that a fetch that broke off leaves the commit that was read before.
        let reference = Cache::new(self.cache.clone())
            .repo(dataset.at(revision))
            .create_ref(&info.sha);
        reference.map_err(|source| HubError::Cache {
            path: self.cache.clone(),
            source,
        })?;
        Ok(fetched)
    }

    /// A file of a commit, from the cache or else from the hub.
    fn fetch(
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

    /// What is left when the hub gave no listing: an error if it said that there is none, else the cache's files.
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

    /// The files of a split as the cache has them, all or an error.
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
        // A commit has no reference of its own unless it was fetched by its hash.
        let commit = reference.map_or_else(
            |_| dataset.revision().to_owned(),
            |commit| commit.trim().to_owned(),
        );
        let snapshot = cache.pointer_path(&commit);
        let names = match std::fs::read(listing_path(&repository, &commit)) {
            Ok(listing) => {
                serde_json::from_slice(&listing).map_err(|_| lacks(dataset.to_string()))?
            }
            // Fetched by another program: what it fetched is taken for the whole.
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

    /// Keeps the listing of a commit beside its snapshot, so that the cache knows what it lacks.
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

/// Why the cache has no answer.
enum NotCached {
    /// It lacks something: a phrase that says what.
    Lacks(String),
    /// It has the data set, but that has no such split.
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

/// Where a commit's listing is kept; huggingface_hub looks at `blobs`, `refs` and `snapshots` only.
fn listing_path(repository: &Path, commit: &str) -> PathBuf {
    repository.join("listings").join(format!("{commit}.json"))
}
