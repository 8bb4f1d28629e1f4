//! Files, folders, patterns and lists of them, in every format and mixed.

use std::path::Path;

use plw_data::{ColumnOptions, ReadOptions, Split};
use serde_json::{Value, json};

use crate::cases::{folder, gzip, lines, read_all, skipping, write};
use crate::table::{arrow_file, parquet, separated, table};

/// Two rows that say which file they are in.
fn rows(name: &str) -> Vec<Value> {
    let row = |number: u8| json!({"prompt": format!("{name}{number}"), "completion": "c"});
    vec![row(0), row(1)]
}

fn write_rows(path: &Path, name: &str) {
    let rows = rows(name);
    let file = path.display().to_string();
    let bytes = match file.rsplit('.').next() {
        Some("parquet") => parquet(&table(&rows)),
        Some("arrow") => arrow_file(&[table(&rows)]),
        Some("json") => Value::from(rows).to_string().into(),
        Some("csv") => separated(&rows, b',', csv::Terminator::CRLF),
        Some("tsv") => separated(&rows, b'\t', csv::Terminator::CRLF),
        Some("gz") => gzip(lines(&rows).as_bytes()),
        _ => lines(&rows).into(),
    };
    write(path, bytes);
}

/// The rows of a source by the name in them, and their numbers.
fn prompts(source: &str, split: Split, limit: Option<u64>) -> Result<String, String> {
    let options = ReadOptions {
        limit,
        ..skipping()
    };
    let (examples, skipped) = read_all(source, split, &ColumnOptions::default(), &options)
        .map_err(|error| error.to_string())?;
    assert_eq!(skipped.rows, 0);
    let names = examples.iter().map(|example| {
        let plw_data::Example::Conversation(conversation) = example else {
            panic!("the rows are prompts and completions")
        };
        let prompt = conversation.turns[0].content().expect("a text");
        assert!(prompt.ends_with(&conversation.row.to_string()));
        assert_eq!(conversation.level, "data");
        prompt.to_owned()
    });
    Ok(names.collect::<Vec<_>>().join(" "))
}

#[test]
fn paths_patterns_and_lists_of_them_are_read_in_order() {
    let folder = folder();
    let data = folder.path().join("data");
    for (file, name) in [
        ("b.jsonl", "b"),
        ("a.csv", "a"),
        ("c.parquet", "c"),
        ("d.arrow", "d"),
        ("e.json", "e"),
        ("f.jsonl.gz", "f"),
        ("g.tsv", "g"),
        ("odd,*[1].jsonl", "odd"),
    ] {
        write_rows(&data.join(file), name);
    }
    let at = |names: &str| {
        let paths = names
            .split('+')
            .map(|name| data.join(name).display().to_string());
        paths.collect::<Vec<_>>().join(",")
    };
    for (source, limit, expected) in [
        (at("b.jsonl"), None, "b0 b1"),
        (at("b.jsonl+a.csv"), None, "b0 b1 a0 a1"),
        (at("b.jsonl+a.csv").replace(',', " , "), Some(3), "b0 b1 a0"),
        (at("?.csv"), None, "a0 a1"),
        (at("[a-c].*"), None, "a0 a1 b0 b1 c0 c1"),
        (at("[a-c].*"), Some(5), "a0 a1 b0 b1 c0"),
        (at("[a-c].*"), Some(4), "a0 a1 b0 b1"),
        (at("[a-c].*"), Some(0), ""),
        (at("[d-g].*"), Some(9), "d0 d1 e0 e1 f0 f1 g0 g1"),
        (at("g.tsv+[a-c].csv"), None, "g0 g1 a0 a1"),
        (at("../*/e.json"), None, "e0 e1"),
        // A file that is there is taken by its own name.
        (at("odd,*[1].jsonl"), None, "odd0 odd1"),
    ] {
        let found = prompts(&source, Split::Test, limit);
        assert_eq!(found.as_deref(), Ok(expected), "{source}");
    }
    for (source, part) in [
        (at("*.txt"), "no file matches"),
        (at("[a.jsonl"), "is not a pattern of paths"),
        (at("b.jsonl+h.csv"), "h.csv does not exist"),
        (format!("{},", at("b.jsonl")), "does not exist"),
        (at("nowhere/*"), "no file matches"),
        (at("*.md"), "no file matches"),
    ] {
        let told = prompts(&source, Split::Train, None).expect_err(&source);
        assert!(told.contains(part), "{source}: {told}");
    }
}

#[test]
fn folders_have_splits_in_every_format() {
    for ending in [
        "parquet", "arrow", "json", "jsonl", "jsonl.gz", "csv", "tsv",
    ] {
        let folder = folder();
        let data = folder.path().join("data");
        for name in [
            "train-00000-of-00002",
            "train-00001-of-00002",
            "dev",
            "test_1",
        ] {
            write_rows(&data.join(format!("{name}.{ending}")), name);
        }
        write_rows(&data.join("README.md"), "readme");
        let source = data.display().to_string();
        for (split, limit, expected) in [
            (
                Split::Train,
                Some(3),
                "train-00000-of-000020 train-00000-of-000021 train-00001-of-000020",
            ),
            (Split::Validation, None, "dev0 dev1"),
            (Split::Test, None, "test_10 test_11"),
        ] {
            let found = prompts(&source, split, limit);
            assert_eq!(found.as_deref(), Ok(expected), "{ending}");
        }
        std::fs::remove_file(data.join(format!("train-00000-of-00002.{ending}"))).expect("a file");
        let told = prompts(&source, Split::Train, None).expect_err("a missing file");
        assert!(told.contains("1 of the 2 files"), "{told}");
    }
}

#[test]
fn folders_without_splits_are_training_data() {
    let folder = folder();
    let data = folder.path().join("data");
    for name in [
        "b.jsonl",
        "a.jsonl",
        "c.csv",
        "config.json",
        "tokenizer.json",
    ] {
        write_rows(&data.join(name), name);
    }
    let source = data.display().to_string();
    let found = prompts(&source, Split::Train, None);
    assert_eq!(found.as_deref(), Ok("a.jsonl0 a.jsonl1 b.jsonl0 b.jsonl1"));
    let told = prompts(&source, Split::Test, None).expect_err("no split");
    assert!(told.contains("holds no test file"), "{told}");
    // Where one file names a split, the others are none.
    write_rows(&data.join("test.jsonl"), "test");
    let told = prompts(&source, Split::Train, None).expect_err("no split");
    assert!(told.contains("it has test"), "{told}");
}

#[test]
fn of_several_formats_one_is_read() {
    let folder = folder();
    let data = folder.path().join("data");
    for (name, expected) in [
        ("train.csv", "train.csv0"),
        ("train.jsonl.gz", "train.jsonl.gz0"),
        // Unpacked beside the packed one.
        ("train.jsonl", "train.jsonl0"),
        ("train.arrow", "train.arrow0"),
        ("train.parquet", "train.parquet0"),
    ] {
        write_rows(&data.join(name), name);
        let found = prompts(&data.display().to_string(), Split::Train, Some(1));
        assert_eq!(found.as_deref(), Ok(expected));
    }
    let all = prompts(&data.display().to_string(), Split::Train, None);
    assert_eq!(all.as_deref(), Ok("train.parquet0 train.parquet1"));
    std::fs::remove_file(data.join("train.parquet")).expect("a file");
    std::fs::remove_file(data.join("train.arrow")).expect("a file");
    let all = prompts(&data.display().to_string(), Split::Train, None);
    assert_eq!(all.as_deref(), Ok("train.jsonl0 train.jsonl1"));
}
