//! What a question holds beyond its required columns.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, LargeStringArray, StringViewArray};
use plw_data::ReadOptions;

use crate::cases::{Row, columns, folder, good, read, write};

#[test]
fn other_columns_come_along_as_text() {
    let folder = folder();
    let path = folder.path().join("rows.parquet");
    let mut all = columns(&[good(), good()]);
    all.push((
        "hint",
        Arc::new(LargeStringArray::from(vec![Some("look"), None])),
    ));
    all.push((
        "subject",
        Arc::new(StringViewArray::from(vec!["biology", ""])),
    ));
    all.push(("year", Arc::new(Int64Array::from(vec![1999, -1]))));
    all.push(("hard", Arc::new(BooleanArray::from(vec![true, false]))));
    let ignored = all[4].1.clone();
    all.push(("more_options", ignored));
    write(&path, all);
    let examples = read(&path, &ReadOptions::default()).expect("good rows");
    let shown: Vec<Vec<_>> = examples
        .iter()
        .map(|e| {
            e.columns
                .iter()
                .map(|(name, text)| format!("{name}={text}"))
                .collect()
        })
        .collect();
    assert_eq!(
        shown[0],
        ["hard=true", "hint=look", "subject=biology", "year=1999"]
    );
    assert_eq!(shown[1], ["hard=false", "subject=", "year=-1"]);
}

#[test]
fn the_level_comes_from_the_id_else_from_the_folder() {
    let cases = [
        (Some("high1234.txt"), "x/train.parquet", "high"),
        (Some("middle12.txt"), "high/train.parquet", "middle"),
        (Some("high"), "x/train.parquet", "high"),
        (Some("highway1.txt"), "middle/train.parquet", "middle"),
        (Some("1234.txt"), "high/train.parquet", "high"),
        (Some("q7"), "biology/train.parquet", "biology"),
        (None, "middle/train.parquet", "middle"),
    ];
    let folder = folder();
    for (example_id, path, level) in cases {
        let path = folder.path().join(path);
        let columns = columns(&[Row {
            example_id,
            ..good()
        }])
        .into_iter();
        write(
            &path,
            columns
                .filter(|(name, _)| example_id.is_some() || *name != "example_id")
                .collect(),
        );
        let examples = read(&path, &ReadOptions::default()).expect("good rows");
        assert_eq!(examples[0].level, level, "{example_id:?}");
        assert_eq!(examples[0].example_id, example_id.unwrap_or("train-0"));
    }
}
