//! The files and rows that a source stands for.

use std::path::{Path, PathBuf};

use plw_data::{ColumnOptions, ReadOptions, Source, Split, read_examples};

use crate::cases::{Row, columns, folder, good, read, skipping, write};

#[test]
fn a_folder_is_read_in_order_and_no_question_twice() {
    let folder = folder();
    let named = |example_id: &'static str| {
        columns(&[
            Row {
                example_id: Some(example_id),
                ..good()
            },
            good(),
        ])
    };
    for (path, id) in [
        ("middle/train-00001-of-00002.parquet", "middle2"),
        ("middle/train-00000-of-00002.parquet", "middle1"),
        ("high/train-00000-of-00001.parquet", "high1"),
        ("all/train-00000-of-00001.parquet", "all1"),
        ("high/validation-00000-of-00001.parquet", "high9"),
    ] {
        write(&folder.path().join(path), named(id));
    }
    let ids = |path: &str, limit, batch: usize| -> Vec<(String, u64)> {
        let batch_size = batch.try_into().expect("not zero");
        let options = ReadOptions {
            limit,
            batch_size,
            ..ReadOptions::default()
        };
        let examples = read(folder.path().join(path), &options).expect("good rows");
        examples
            .into_iter()
            .map(|e| (e.example_id, e.row))
            .collect()
    };
    let expected = |ids: &[(&str, u64)]| {
        ids.iter()
            .map(|&(id, row)| (id.to_owned(), row))
            .collect::<Vec<_>>()
    };
    let all = [
        ("high1", 0),
        ("middle1.txt", 1),
        ("middle1", 0),
        ("middle1.txt", 1),
        ("middle2", 0),
        ("middle1.txt", 1),
    ];
    for batch in [1, 2, 256] {
        assert_eq!(ids("", None, batch), expected(&all));
        for limit in 0..=7 {
            assert_eq!(
                ids("", Some(limit), batch),
                expected(&all[..all.len().min(limit as usize)])
            );
        }
    }
    assert_eq!(ids("middle", None, 256), expected(&all[2..]));
    assert_eq!(
        ids("all", None, 256),
        expected(&[("all1", 0), ("middle1.txt", 1)])
    );
    // A file is read whatever the split.
    assert_eq!(
        ids("high/validation-00000-of-00001.parquet", Some(1), 256),
        expected(&[("high9", 0)])
    );
    let error = read(folder.path().join("nowhere"), &ReadOptions::default())
        .expect_err("nothing there")
        .to_string();
    assert!(
        error.contains("nowhere") && error.contains("hub:owner/name"),
        "{error}"
    );
}

#[test]
fn the_limit_counts_bad_rows_too() {
    let folder = folder();
    let path = folder.path().join("rows.parquet");
    let bad = Row {
        answer: None,
        ..good()
    };
    write(&path, columns(&[bad, good(), good()]));
    let options = ReadOptions {
        limit: Some(2),
        ..skipping()
    };
    let rows: Vec<_> = read(&path, &options)
        .expect("a good row")
        .iter()
        .map(|e| e.row)
        .collect();
    assert_eq!(rows, [1]);
}

/// Real RACE, if it is there: every row is good, and their numbers are right.
#[test]
fn real_race_is_read_whole() {
    let shared = std::env::var_os("PLW_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let race = shared.join("data/race");
    if !race.is_dir() {
        println!("skipped: there is no {}", race.display());
        return;
    }
    for (level, split, expected) in [
        ("middle", Split::Train, 25_421),
        ("high", Split::Train, 62_445),
        ("middle", Split::Validation, 1_436),
        ("high", Split::Validation, 3_451),
        ("", Split::Validation, 1_436 + 3_451),
        ("", Split::Train, 25_421 + 62_445),
    ] {
        let mut reader = read_examples(
            &Source::Path(race.join(level)),
            split,
            &ColumnOptions::default(),
            &ReadOptions::default(),
        )
        .expect("real RACE");
        let mut rows = 0;
        for example in reader.by_ref() {
            let example = example.expect("a good row").question().expect("a question");
            rows += 1;
            assert_eq!(example.options.len(), 4);
            assert!(level.is_empty() || example.level == level);
            assert!(example.example_id.starts_with(&example.level));
        }
        assert_eq!(
            (rows, reader.skipped().rows),
            (expected, 0),
            "{level} {split}"
        );
    }
}
