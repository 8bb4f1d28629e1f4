//! The splits of a data set, and the file names that belong to one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::file_format::without_endings;

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

/// Words that the name of a split's files may begin with.
const WORDS: [(&str, Split); 8] = [
    ("train", Split::Train),
    ("training", Split::Train),
    ("validation", Split::Validation),
    ("valid", Split::Validation),
    ("val", Split::Validation),
    ("dev", Split::Validation),
    ("test", Split::Test),
    ("testing", Split::Test),
];

/// The split that a file holds, by its name: `train-00000-of-00001.parquet`, `middle/train.jsonl`,
/// `dev.csv.gz`.
pub fn split_of_file(name: &str) -> Option<Split> {
    let file = name.split_once('/').map_or(name, |(_folder, file)| file);
    let stem = without_endings(file).filter(|stem| !stem.contains('/'))?;
    let word_end = stem.find(|c: char| !c.is_ascii_alphabetic());
    let (word, rest) = stem.split_at(word_end.unwrap_or(stem.len()));
    let (_, split) = WORDS.iter().find(|(known, _)| *known == word)?;
    (rest.is_empty() || rest.starts_with(['-', '_', '.'])).then_some(*split)
}

/// Whether a file holds rows, by its name.
pub(crate) fn is_data_file(name: &str) -> bool {
    without_endings(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_split() {
        for (name, split) in [
            ("train.parquet", Some(Split::Train)),
            ("train-00000-of-00002.parquet", Some(Split::Train)),
            ("a/training_1.jsonl", Some(Split::Train)),
            ("dev.csv.gz", Some(Split::Validation)),
            ("val.v2.json", Some(Split::Validation)),
            ("test-1.arrow", Some(Split::Test)),
            ("trainer.parquet", None),
            ("train1.parquet", None),
            ("train", None),
            ("train.txt", None),
            ("a/b/train.parquet", None),
        ] {
            assert_eq!(split_of_file(name), split, "{name}");
        }
    }
}
