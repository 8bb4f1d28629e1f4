//! How to reach the hub. Knows settings; the files that come through it are in `files`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::progress::ProgressFunction;

/// How long the hub may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a listing, or for a file's length and ETag: `HF_HUB_ETAG_TIMEOUT`.
    pub metadata: Duration,
    /// For the next bytes of a file: `HF_HUB_DOWNLOAD_TIMEOUT`.
    pub download: Duration,
    /// The pause before a request is repeated. It doubles each time.
    pub pause: Duration,
}

impl Default for Timeouts {
    /// Those of huggingface_hub: 10 seconds, and a pause of one second.
    fn default() -> Self {
        Self {
            metadata: Duration::from_secs(10),
            download: Duration::from_secs(10),
            pause: Duration::from_secs(1),
        }
    }
}

/// How to reach the hub. [`Hub::from_env`] reads the variables that Python's huggingface_hub reads.
#[derive(Clone)]
pub struct Hub {
    /// The address, such as `https://huggingface.co`.
    pub endpoint: String,
    /// The folder of downloads, in the layout of huggingface_hub, so that both share it.
    pub cache: PathBuf,
    /// Whether only the cache may be read.
    pub offline: bool,
    /// The access token for repositories that are not public. It is sent to the endpoint alone.
    pub token: Option<String>,
    /// How long the hub may be silent.
    pub timeouts: Timeouts,
    /// Is told how far a download is.
    pub progress: Option<ProgressFunction>,
}

impl Hub {
    /// The hub at an address, without a token.
    pub fn new(endpoint: impl Into<String>, cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: endpoint.into(),
            cache: cache.into(),
            offline: false,
            token: None,
            timeouts: Timeouts::default(),
            progress: None,
        }
    }
}

impl fmt::Debug for Hub {
    /// Leaves the token out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}
