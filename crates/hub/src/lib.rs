//! Files of the Hugging Face hub, in the cache that Python's huggingface_hub shares.
//!
//! Knows repositories, commits and bytes; never what a file means. The hub is not trusted: no name
//! that it sends reaches the disk unchecked, no wait is endless, and a file is in the cache only if
//! its length, and the digest in its ETag, are right.
#![doc = include_str!("../README.md")]

mod blob;
mod cache;
mod client;
mod environment;
mod error;
mod etag;
mod files;
mod hub;
mod listing;
mod lock;
mod metadata;
mod names;
mod progress;
mod repository;
mod repository_kind;
mod retry;
mod url;

pub use error::{HubError, RequestError};
pub use files::HubFile;
pub use hub::{Hub, Timeouts};
pub use progress::{Progress, ProgressFunction};
pub use repository::Repository;
pub use repository_kind::RepositoryKind;
