//! Which of a folder's files hold a split. Knows file names; opens no file.

use super::error::SourceError;
use super::file_format::{FileFormat, unpacked_name};
use super::split::{Split, is_data_file, split_of_file};

/// The files of a folder (and of its subfolders, as `folder/file`) that hold a split, in the order
/// of their names, by the rules of [`crate::Source`]. Errors call the folder `place`.
pub(crate) fn split_files<'a>(
    names: impl Iterator<Item = &'a str>,
    split: Split,
    place: &str,
) -> Result<Vec<String>, SourceError> {
    let all: Vec<&str> = names.collect();
    let mut files: Vec<&str> = all
        .iter()
        .copied()
        .filter(|name| split_of_file(name) == Some(split))
        .collect();
    let names_no_split = || all.iter().all(|name| split_of_file(name).is_none());
    if files.is_empty() && split == Split::Train && names_no_split() {
        files = all
            .iter()
            .copied()
            .filter(|name| is_rows_of_folder(name))
            .collect();
    }
    // The same rows may lie there in several formats, and other data beside them.
    let format = |name: &&str| FileFormat::of_name(name).map(|(format, _)| format);
    if let Some(preferred) = files.iter().filter_map(format).min() {
        files.retain(|name| format(name) == Some(preferred));
    }
    // A file that was unpacked may lie beside the packed one.
    let unpacked: Vec<&str> = files
        .iter()
        .copied()
        .filter(|name| unpacked_name(name).0 == *name)
        .collect();
    files.retain(|name| unpacked.contains(name) || !unpacked.contains(&unpacked_name(name).0));
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
        return Err(no_files(&all, split, place));
    }
    check_shards(&files, place)?;
    files.sort_unstable();
    Ok(files.into_iter().map(str::to_owned).collect())
}

/// Whether a file at the top or in a folder holds rows: a data set without splits is one of
/// training data. What describes a model or a data set is not meant.
fn is_rows_of_folder(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let describes = [
        "config.json",
        "dataset_infos.json",
        "state.json",
        "dataset_info.json",
    ];
    let describes = describes.contains(&file) || file.starts_with("tokenizer");
    is_data_file(name) && !describes && name.matches('/').count() < 2
}

/// The error that says which splits there are instead.
fn no_files(all: &[&str], split: Split, place: &str) -> SourceError {
    let splits: Vec<&str> = Split::ALL
        .into_iter()
        .filter(|other| all.iter().any(|name| split_of_file(name) == Some(*other)))
        .map(Split::name)
        .collect();
    SourceError::NoFiles {
        place: place.to_owned(),
        split,
        found: match splits.as_slice() {
            [] => "no file of another split either".to_owned(),
            splits => splits.join(" and "),
        },
    }
}

/// Checks that all of a split's numbered files are there.
fn check_shards(files: &[&str], place: &str) -> Result<(), SourceError> {
    for file in files {
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
    Ok(())
}

/// The subfolder in a name; empty for a file of the folder itself.
fn folder_of(name: &str) -> &str {
    name.split_once('/').map_or("", |(folder, _)| folder)
}

/// The number of files that a name states: 2 for `train-00000-of-00002.parquet` or
/// `train-00000-of-00002-1a2b.parquet`.
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
    fn file_names_decide_the_split() {
        let cases: [(Names, Result<Names, &str>); 16] = [
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
                &["trainings.parquet", "train.txt"],
                Ok(&["trainings.parquet"]),
            ),
            (
                &["README.md", "config.json", "a/b/rows.jsonl"],
                Err("no file of another split either"),
            ),
            (
                &["rows.jsonl.gz", "more.json", "dataset_infos.json"],
                Ok(&["more.json", "rows.jsonl.gz"]),
            ),
            (
                &["train.csv.gz", "train.csv", "train-1.csv.gz", "test.csv"],
                Ok(&["train-1.csv.gz", "train.csv"]),
            ),
            (
                &["train-1.csv", "train-0.csv", "valid.csv"],
                Ok(&["train-0.csv", "train-1.csv"]),
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
    }
}
