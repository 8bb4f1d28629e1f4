//! The splits of a data set, and the file names that belong to one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The rows that a model is trained on.
    Train,
    /// The rows that settings are chosen by.
    Validation,
    /// The rows that a final result is reported on.
    Test,
}

impl Split {
    /// Every split.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its name, which its file names begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// The split that a file holds, by its name: `train-00000-of-00001.parquet` or
/// `middle/train.parquet`.
pub fn split_of_file(name: &str) -> Option<Split> {
    let file = name
        .split_once('/')
        .map_or(name, |(_folder, file)| file)
        .strip_suffix(".parquet")?;
    let rest = |split: &Split| file.strip_prefix(split.name());
    Split::ALL.into_iter().find(|split| {
        rest(split)
            .is_some_and(|rest| !rest.contains('/') && (rest.is_empty() || rest.starts_with('-')))
    })
}
