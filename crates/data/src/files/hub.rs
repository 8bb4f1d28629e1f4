//! Downloads from the Hugging Face hub, into the cache that Python's huggingface_hub shares. Knows
//! the hub's listing of a data set; reads no row.

use std::fmt;
use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo};

use super::data_file::DataFile;
use super::error::{HubError, SourceError};
use super::hub_cache::{NotCached, cached_files, keep_listing};
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
        let cached = cached_files(&self.cache, dataset, split);
        let revision = dataset.revision();
        let is_commit = revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit());
        if self.offline || (is_commit && cached.is_ok()) {
            return cached.map_err(|error| error.into_error(|cached| HubError::Offline { cached }));
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
        keep_listing(&self.cache, dataset, &info.sha, &names)?;
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
            not.into_error(|cached| HubError::Unreachable {
                endpoint,
                dataset: name,
                source,
                cached,
            })
        })
    }
}
