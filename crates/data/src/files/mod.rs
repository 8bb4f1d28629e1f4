//! Where data comes from: the parquet files that a path or a data set on the hub stands for. Knows
//! names and layouts; reads no row.

mod data_file;
mod error;
mod folder;
mod hub_dataset;
mod source;
mod split;
mod split_files;

pub use data_file::DataFile;
pub use error::SourceError;
pub use folder::list_files;
pub use hub_dataset::HubDataset;
pub use source::Source;
pub use split::{Split, split_of_file};
