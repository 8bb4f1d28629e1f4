//! The splits of a data set, and which of a folder's files hold one. Knows file names; opens no file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::source::SourceError;

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What a model is trained on.
    Train,
    /// What settings are chosen by.
    Validation,
    /// What is reported.
    Test,
}

impl Split {
    /// Every split.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its name as file names begin with it.
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

impl FromStr for Split {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let split = Self::ALL.into_iter().find(|split| split.name() == text);
        split.ok_or_else(|| SourceError::Split(text.to_owned()))
    }
}

/// Which of a folder's files (and its sub-folders', as `folder/file`) hold a split, in the order of their names, by the rules of [`crate::Source`].
/// `place` is what errors call the folder.
pub(crate) fn split_files<'a>(
    names: impl Iterator<Item = &'a str>,
    split: Split,
    place: &str,
) -> Result<Vec<String>, SourceError> {
    let all: Vec<&str> = names.collect();
    let of = |split: Split| {
        all.iter()
            .copied()
            .filter(move |name| is_of_split(name, split))
    };
    let mut files: Vec<&str> = of(split).collect();
    if files.iter().any(|name| folder_of(name).is_empty()) {
        files.retain(|name| folder_of(name).is_empty());
    }
    let has = |folder| files.iter().any(|name| folder_of(name) == folder);
    match (has("all"), has("high") && has("middle")) {
        (true, true) => files.retain(|name| folder_of(name) != "all"),
        (true, false) => files.retain(|name| folder_of(name) == "all"),
        (false, _) => {}
    }
    if files.is_empty() {
        let others: Vec<_> = Split::ALL
            .into_iter()
            .filter(|&other| of(other).next().is_some())
            .collect();
        let found = match others.as_slice() {
            [] => "no file of another split either".to_owned(),
            others => others
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" and "),
        };
        return Err(SourceError::NoFiles {
            place: place.to_owned(),
            split,
            found,
        });
    }
    for file in &files {
        let expected = shards(file);
        let found = files
            .iter()
            .filter(|other| folder_of(other) == folder_of(file) && shards(other) == expected)
            .count();
        if let Some(expected) = expected.filter(|&expected| expected != found) {
            let (place, file) = (place.to_owned(), file.to_string());
            return Err(SourceError::MissingShards {
                place,
                file,
                found,
                expected,
            });
        }
    }
    files.sort_unstable();
    Ok(files.into_iter().map(str::to_owned).collect())
}

/// The split that a file holds, by its name: `train-00000-of-00001.parquet` or `middle/train.parquet`.
pub fn split_of_file(name: &str) -> Option<Split> {
    Split::ALL
        .into_iter()
        .find(|&split| is_of_split(name, split))
}

/// Whether a file, in a folder or in one of its sub-folders, holds a split.
fn is_of_split(name: &str, split: Split) -> bool {
    let file = name
        .strip_prefix(folder_of(name))
        .unwrap_or(name)
        .trim_start_matches('/');
    let stem = file
        .strip_suffix(".parquet")
        .and_then(|stem| stem.strip_prefix(split.name()));
    !file.contains('/') && stem.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The part of a name before its first `/`; empty for a file that stands in the folder itself.
fn folder_of(name: &str) -> &str {
    name.split_once('/').map_or("", |(folder, _)| folder)
}

/// The number of files that a name such as `train-00000-of-00002.parquet` or `train-00000-of-00002-1a2b.parquet` speaks of.
fn shards(name: &str) -> Option<usize> {
    let (_, rest) = name.rsplit_once("-of-")?;
    let digits = rest.split(['-', '.']).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Names = &'static [&'static str];

    #[test]
    fn a_split_is_told_by_file_names() {
        let cases: [(Names, Result<Names, &str>); 12] = [
            (
                &["train-00000-of-00001.parquet", "test.parquet"],
                Ok(&["train-00000-of-00001.parquet"]),
            ),
            (
                &["train.parquet", "README.md", "middle/train.parquet"],
                Ok(&["train.parquet"]),
            ),
            (
                &["middle/train-0.parquet", "high/train-0.parquet"],
                Ok(&["high/train-0.parquet", "middle/train-0.parquet"]),
            ),
            // `all` repeats the others.
            (
                &[
                    "all/train.parquet",
                    "middle/train.parquet",
                    "high/train.parquet",
                ],
                Ok(&["high/train.parquet", "middle/train.parquet"]),
            ),
            (
                &["all/train.parquet", "high/train.parquet"],
                Ok(&["all/train.parquet"]),
            ),
            (&["all/train.parquet"], Ok(&["all/train.parquet"])),
            (
                &[
                    "data/train-00000-of-00002.parquet",
                    "data/train-00001-of-00002.parquet",
                ],
                Ok(&[
                    "data/train-00000-of-00002.parquet",
                    "data/train-00001-of-00002.parquet",
                ]),
            ),
            (&["train-00000-of-00002.parquet"], Err("1 of the 2 files")),
            (
                &["high/train-00000-of-00002-5a.parquet"],
                Err("1 of the 2 files"),
            ),
            (
                &["training-1.parquet", "train-1.csv"],
                Err("no file of another split either"),
            ),
            (
                &["middle/test-0.parquet", "validation.parquet"],
                Err("it has validation and test"),
            ),
            (&["a/b/train.parquet"], Err("holds no train file")),
        ];
        for (names, expected) in cases {
            let files = split_files(names.iter().copied(), Split::Train, "place");
            match (files, expected) {
                (Ok(files), Ok(expected)) => assert_eq!(files, expected, "{names:?}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{names:?}: {error}")
                }
                (files, expected) => panic!("{names:?}: {files:?}, expected {expected:?}"),
            }
        }
        assert!(
            "dev"
                .parse::<Split>()
                .is_err_and(|error| error.to_string().contains("validation"))
        );
    }
}
