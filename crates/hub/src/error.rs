//! Why a file of the hub cannot be had.

use std::path::{Path, PathBuf};

use plw_files::FileError;

use crate::repository_kind::RepositoryKind;

/// Why files cannot be downloaded from the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A setting cannot be used.
    #[error("{variable} {problem}; correct or unset it")]
    Setting {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// The name or the revision of a repository cannot be one.
    #[error("{0:?} does not name a repository of the hub; write owner/name or owner/name@revision")]
    Name(String),
    /// There is no such repository or revision, or it is not public: the hub answers 401 for both.
    #[error("{endpoint} answers {status} for {name}: {remedy}")]
    Refused {
        /// The hub's address.
        endpoint: String,
        /// The repository or file.
        name: String,
        /// The HTTP status.
        status: u16,
        /// What may be the reason, and what to do.
        remedy: String,
    },
    /// The repository has no such file.
    #[error("{0} does not exist; check the path")]
    NoFile(String),
    /// The hub does not answer, and the cache does not hold the files.
    #[error("{repository} could not be downloaded from the hub, and {cached}: {source}")]
    Unreachable {
        /// The repository.
        repository: String,
        /// What the cache lacks.
        cached: String,
        /// The cause.
        source: Box<RequestError>,
    },
    /// Only the cache may be read, and it does not hold the files.
    #[error("offline (HF_HUB_OFFLINE is set), and {cached}; run once with access to the hub")]
    Offline {
        /// What the cache lacks.
        cached: String,
    },
    /// A repository's listing or file cannot be downloaded.
    #[error("{name} could not be downloaded: {source}")]
    Download {
        /// The repository or file.
        name: String,
        /// The cause.
        source: Box<RequestError>,
    },
    /// The cache cannot be read or written.
    #[error(
        "cannot write {path}: {source}; set HF_HUB_CACHE or HF_HOME to a writable folder with \
         enough room",
        path = path.display()
    )]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl HubError {
    /// The error of a request for a repository, or for a file of it; `name` says which.
    pub(crate) fn of_request(
        kind: RepositoryKind,
        name: String,
        token: Option<&str>,
        source: RequestError,
    ) -> Self {
        match source {
            RequestError::Refused { endpoint, status } => Self::Refused {
                endpoint,
                name,
                status,
                remedy: remedy(kind, status, token),
            },
            source => Self::Download {
                name,
                source: Box::new(source),
            },
        }
    }

    /// For `map_err`: names the file or folder of the cache.
    pub(crate) fn cache(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Cache { path, source }
    }
}

impl From<FileError> for HubError {
    fn from(error: FileError) -> Self {
        Self::Cache {
            path: error.path,
            source: error.source,
        }
    }
}

fn remedy(kind: RepositoryKind, status: u16, token: Option<&str>) -> String {
    let access = match token {
        Some(_) => "check that your token (HF_TOKEN, or the file token in HF_HOME) has access",
        None => "set HF_TOKEN if you have access to it",
    };
    match status {
        403 => format!("access is not granted; ask for it on the page of the {kind}, and {access}"),
        _ => format!(
            "there is no such {kind} or revision, or it is not public; check the name, or {access}"
        ),
    }
}

/// Why a request to the hub, or to a server that it names, failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no answer in time.
    #[error("{url} kept waiting for {seconds} s; try again, or set {variable} to more seconds")]
    Timeout {
        /// The address.
        url: String,
        /// How long was waited.
        seconds: f64,
        /// The environment variable that says how long to wait.
        variable: &'static str,
    },
    /// There is no connection.
    #[error("{url} gives no answer ({source}); check the network, or set HF_ENDPOINT to a mirror")]
    Connection {
        /// The address.
        url: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The hub does not have it, or not for this user: 401, 403 or 404.
    #[error("{endpoint} answers {status}; check the name and the token")]
    Refused {
        /// The hub's address.
        endpoint: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is another error.
    #[error("{url} answers {status}; {remedy}", remedy = status_remedy(*status))]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection was cut before the end of a file.
    #[error(
        "{url} broke off after {received} of {total} bytes ({reason}); try again (the part that \
         arrived is kept)"
    )]
    Cut {
        /// The address.
        url: String,
        /// The bytes on disk.
        received: u64,
        /// The length of the file.
        total: u64,
        /// The cause.
        reason: String,
    },
    /// The answer is not what a hub sends.
    #[error("{url} {problem}; check HF_ENDPOINT and the proxy, or try again later")]
    Unexpected {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The answer could harm this machine.
    #[error("{url} {problem}; do not use this server")]
    Untrusted {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
}

impl RequestError {
    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Connection { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Refused { .. } | Self::Unexpected { .. } | Self::Untrusted { .. } => false,
        }
    }
}

fn status_remedy(status: u16) -> &'static str {
    match status {
        429 => "wait a few minutes, or set HF_TOKEN, which allows more requests",
        500..=599 => "the hub has a problem; try again later",
        _ => "check HF_ENDPOINT and the proxy",
    }
}
