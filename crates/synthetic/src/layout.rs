//! The names of the files of a synthetic data set, and whether a folder is free for them.

use std::path::Path;

use plw_data::{Split, list_files, split_of_file};

use crate::config::Level;
use crate::error::SyntheticError;

/// The file of the questions of a split and level.
pub(crate) fn question_file(level: Level, split: Split) -> String {
    format!("{level}/{split}-00000-of-00001.parquet")
}

/// The file of the conversations of a split.
pub(crate) fn conversation_file(split: Split) -> String {
    format!("conversations/{split}.jsonl")
}

/// Refuses a folder with a split's file of another data set.
pub(crate) fn check_folder(directory: &Path) -> Result<(), SyntheticError> {
    if !directory.is_dir() {
        return Ok(());
    }
    let is_own = |file: &str| {
        Split::ALL.into_iter().any(|split| {
            file == conversation_file(split)
                || Level::ALL
                    .iter()
                    .any(|&level| file == question_file(level, split))
        })
    };
    let mut files = list_files(directory)?.into_iter();
    match files.find(|file| split_of_file(file).is_some() && !is_own(file)) {
        None => Ok(()),
        Some(file) => Err(SyntheticError::Foreign {
            folder: directory.to_path_buf(),
            file,
        }),
    }
}
