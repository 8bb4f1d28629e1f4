//! The kinds of repositories on the hub.

use std::fmt;

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepositoryKind {
    /// Rows to train or evaluate on.
    Dataset,
    /// A model or an adapter.
    Model,
}

impl RepositoryKind {
    /// Its plural: the part of the hub's interface, and the start of the folder in the cache.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Dataset => "datasets",
            Self::Model => "models",
        }
    }
}

impl fmt::Display for RepositoryKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Dataset => "data set",
            Self::Model => "model",
        })
    }
}
