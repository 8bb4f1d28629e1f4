//! Where data comes from: the files that a path or a data set on the hub stands for, and how they
//! are written. Knows names and layouts; reads no row.

mod data_file;
mod error;
mod file_format;
mod folder;
mod hub_dataset;
mod local_files;
mod source;
mod split;
mod split_files;

pub use data_file::DataFile;
pub use error::SourceError;
pub(crate) use file_format::{Compression, ENDINGS_IN_WORDS, FileFormat, without_endings};
pub use folder::list_files;
pub use hub_dataset::HubDataset;
pub use source::Source;
pub use split::{Split, split_of_file};
