//! Files and directories that are complete or absent, whatever happens to the process.
//!
//! Knows paths and bytes; never what the bytes mean. All crates that write results use it, because
//! a half-written file under a final name would be read as a result. Those that read small files
//! which others wrote use it too, so that no device and no giant file is read without end.
#![doc = include_str!("../README.md")]

mod digest;
mod directory;
mod error;
mod exclusive;
mod file;
mod guard;
mod partial;
mod read;
mod sealed;

pub use digest::{digest, digest_file, digest_start};
pub use directory::{remove_directory_atomic, write_directory_atomic};
pub use error::FileError;
pub use exclusive::write_new;
pub use file::{copy_atomic, sync_file, write_atomic, write_atomic_with, write_json_atomic};
pub use guard::guarded;
pub use partial::{remove_partial, remove_partial_of};
pub use read::{MOST_SETTINGS, open_regular, read_bounded, read_text};
pub use sealed::{Verified, check_sealed_files, read_sealed, write_sealed};
