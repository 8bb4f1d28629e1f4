//! Files that are not what they seem, or end early: each is an error that names the file and says
//! what to do, whether bad rows are skipped or not.

use std::process::Command;

use plw_data::{ColumnOptions, OnBadRow, ReadOptions, Split};
use serde_json::json;

use crate::cases::{folder, gzip, lines, read, read_all, skipping, write, zstandard};
use crate::table::{arrow_file, arrow_stream, parquet, table};

const GOOD: &str = r#"{"prompt": "a", "completion": "b"}"#;

/// The errors of a file, which are the same whatever is done with bad rows.
fn error_of(name: &str, bytes: &[u8]) -> String {
    let folder = folder();
    let path = folder.path().join(name);
    write(&path, bytes);
    let told = [OnBadRow::Error, OnBadRow::Skip].map(|on_bad_row| {
        let options = ReadOptions {
            on_bad_row,
            ..ReadOptions::default()
        };
        let read = read_all(&path, Split::Train, &ColumnOptions::default(), &options);
        read.expect_err(name).to_string()
    });
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains(&path.display().to_string()), "{}", told[0]);
    told[0].clone()
}

fn half(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

#[test]
fn files_that_end_early_or_go_on_are_errors() {
    // Text that is not packed well, so that half of it holds whole rows.
    let rows: Vec<_> = (0..20_000u32)
        .map(|row| format!("{:x}", row.wrapping_mul(2_654_435_761)))
        .map(|prompt| json!({"prompt": prompt, "completion": "b"}))
        .collect();
    let text = lines(&rows);
    let whole = table(&rows);
    let batches: Vec<_> = (0..10).map(|part| whole.slice(part * 2000, 2000)).collect();
    let (file, stream) = (arrow_file(&batches), arrow_stream(&batches));
    let array = format!("[{GOOD},\n{GOOD}\n");
    let complete = "check that the file is complete";
    let unquoted = format!("prompt,completion\na,b\n\"{}", "x\n".repeat(5 << 20));
    let cases: [(&str, Vec<u8>, &[&str]); 24] = [
        ("a.jsonl.gz", half(&gzip(text.as_bytes())), &[complete]),
        (
            "a.csv.gz",
            half(&gzip(
                format!("prompt,completion\n{}", "a,b\n".repeat(9999)).as_bytes(),
            )),
            &[complete],
        ),
        (
            "a.jsonl.zst",
            half(&zstandard(text.as_bytes())),
            &[complete],
        ),
        ("a.jsonl.gz", b"\x1f\x8b".to_vec(), &[complete]),
        (
            "a.jsonl.gz",
            [gzip(text.as_bytes()), b"more".to_vec()].concat(),
            &[complete],
        ),
        ("a.jsonl.gz", GOOD.into(), &[complete]),
        ("a.jsonl.zst", GOOD.into(), &[complete]),
        (
            "a.json",
            array.clone().into(),
            &[
                "in line 3 neither a comma nor the end of the array follows its last item",
                complete,
            ],
        ),
        (
            "a.json",
            format!("{array},").into(),
            &["in line 3 the array ends without a `]`"],
        ),
        (
            "a.json",
            format!("{array},{{\"prompt\": ").into(),
            &["in line 3 the array ends without"],
        ),
        (
            "a.json",
            format!("{array},{{\"prompt\": \"a").into(),
            &["the array ends without"],
        ),
        (
            "a.json",
            format!("{array} {GOOD}]").into(),
            &["in line 3 neither a comma"],
        ),
        (
            "a.json",
            format!("{array}]\n x").into(),
            &["in line 4 something follows the array"],
        ),
        (
            "a.json",
            format!("{array}][]").into(),
            &["in line 3 something follows the array"],
        ),
        (
            "a.json",
            "[".repeat(1_000_000).into(),
            &["the array ends without a `]`"],
        ),
        (
            "a.csv",
            b"prompt,completion\na,b\n\nc,\"d\ne,f\n".to_vec(),
            &["in the row that begins in line 4 a quote is opened and never closed"],
        ),
        (
            "a.csv",
            b"prompt,completion\r\n\"a\nb\",b\r\n\"c,d".to_vec(),
            &["in line 4 a quote"],
        ),
        (
            "a.csv",
            b"prompt,\"completion\na,b\n".to_vec(),
            &["in line 1 a quote"],
        ),
        (
            "a.csv",
            unquoted.into(),
            &["has more than 8388608 bytes; perhaps a quote is not closed"],
        ),
        ("a.arrow", half(&file), &["its end is missing", complete]),
        ("a.arrow", half(&stream), &["as Arrow IPC", complete]),
        (
            "a.arrow",
            b"ARROW1\0\0ARROW1".to_vec(),
            &["as Arrow IPC", complete],
        ),
        ("a.arrow", Vec::new(), &["it holds no schema", complete]),
        ("a.arrow", text.clone().into(), &["as Arrow IPC", complete]),
    ];
    for (name, bytes, parts) in cases {
        let told = error_of(name, &bytes);
        for part in parts {
            assert!(told.contains(part), "{name}: {part:?} in {told}");
        }
    }
}

#[test]
fn files_under_a_wrong_name_are_called_what_they_are() {
    let rows = [json!({"prompt": "a", "completion": "b"})];
    let utf_16 = |text: &str, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(order).collect()
    };
    let little = utf_16("prompt,completion\na,b\n", u16::to_le_bytes);
    let cases: [(&[u8], &str); 12] = [
        (&little, "it is UTF-16: write it again in UTF-8"),
        (&utf_16(GOOD, u16::to_be_bytes), "it is UTF-16"),
        (&little[2..], "it holds bytes that no text holds"),
        (&gzip(b"x"), "end its name in .gz"),
        (&zstandard(b"x"), "end its name in .zst"),
        (b"BZh91AY&SY", "unpack it"),
        (&parquet(&table(&rows)), "end its name in .parquet"),
        (&arrow_file(&[table(&rows)]), "end its name in .arrow"),
        (b"PK\x03\x04\x14\0", "save it as CSV"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "`git lfs pull`",
        ),
        (b"<!DOCTYPE html>", "it is a web page"),
        (
            b"\x7fELF\x02\x01\x01\0",
            "it holds bytes that no text holds",
        ),
    ];
    for (bytes, part) in cases {
        for name in ["a.csv", "a.tsv", "a.jsonl", "a.json"] {
            let told = error_of(name, bytes);
            for part in ["is not text in UTF-8; ", part] {
                assert!(told.contains(part), "{name}: {part:?} in {told}");
            }
        }
        for (name, packed) in [("a.csv.gz", gzip(bytes)), ("a.jsonl.zst", zstandard(bytes))] {
            assert!(error_of(name, &packed).contains(part), "{name}");
        }
    }
}

#[test]
fn columns_that_are_not_known_are_named() {
    let known = "the columns of ";
    for (name, text, parts) in [
        (
            "a.jsonl",
            r#"{"text": "a", "n": 1}"#,
            [known, "it has `text` (Utf8), `n` (Int64)"],
        ),
        (
            "a.json",
            r#"[{"data": [{"prompt": "a"}]}]"#,
            [known, "`data` (List"],
        ),
        (
            "a.csv",
            "text,n\na,1\n",
            [known, "--column prompt=NAME,completion=NAME"],
        ),
        (
            "a.csv",
            "question,A,B\nq,x,y\n",
            ["no column `answer`", "--column answer=NAME"],
        ),
        (
            "a.jsonl",
            r#"{"instruction": "a", "input": "b"}"#,
            [known, "`input` (Utf8)"],
        ),
        (
            "a.jsonl",
            r#"{"question": "q", "options": ["x", "y"], "answer": 1}"#,
            [
                "column `answer` is of type Int64",
                "answer_style = \"number-from-0\"",
            ],
        ),
        (
            "a.csv",
            "question,options,answer\nq,\"['x', 'y']\",A\n",
            [
                "column `options` is of type Utf8",
                "should be a list of text",
            ],
        ),
        (
            "a.csv",
            "prompt,completion,prompt\n",
            ["names the column `prompt` twice", "rename"],
        ),
        (
            "a.csv",
            "",
            ["it is empty", "its first line should name the columns"],
        ),
        ("a.csv", "\r\n \n", [known, "` ` (Utf8)"]),
    ] {
        let told = error_of(name, text.as_bytes());
        for part in parts {
            assert!(told.contains(part), "{name}: {part:?} in {told}");
        }
    }
    let told = error_of("a.csv", b"pr\xffmpt,completion\na,b\n");
    assert!(
        told.contains("its first line is not UTF-8; write it in UTF-8"),
        "{told}"
    );
    let told = error_of("notes.txt", b"plain text");
    assert!(
        told.contains("give it an ending (.parquet, .arrow"),
        "{told}"
    );
    let told = error_of("empty", b"");
    assert!(told.contains("tells its format"), "{told}");
}

/// One object over several lines is no line of its own, and one in a single line is a row.
#[test]
fn a_lone_object_is_a_row_if_it_is_in_one_line() {
    let folder = folder();
    let path = folder.path().join("a.json");
    write(&path, GOOD);
    assert_eq!(read(&path).expect("a row").len(), 1);
    write(
        &path,
        "{\n  \"prompt\": \"a\",\n  \"completion\": \"b\"\n}\n",
    );
    let told = read(&path).expect_err("no row").to_string();
    for part in [
        "row 0 (the first is 0, line 1)",
        "a row is an object in one line, or an item",
    ] {
        assert!(told.contains(part), "{part:?} in {told}");
    }
    let columns = ColumnOptions::default();
    let (examples, skipped) = read_all(&path, Split::Train, &columns, &skipping()).expect("a file");
    assert_eq!((examples.len(), skipped.rows), (0, 4));
}

#[test]
fn files_without_rows_have_no_examples() {
    let folder = folder();
    let blank = "\n".repeat(10_000_000);
    for (name, text) in [
        ("a.jsonl", ""),
        ("a.jsonl", "\u{feff}\n\n"),
        ("a.jsonl", &blank),
        ("a.json", "[]"),
        ("a.json", " [ \n ] \n"),
        ("a.csv", "prompt,completion"),
        ("a.csv", "prompt,completion\r\n"),
        ("a.tsv", "prompt\tcompletion\n\n\n"),
    ] {
        let path = folder.path().join(name);
        write(&path, text);
        assert_eq!(read(&path).expect(name).len(), 0, "{name}");
    }
    // A row behind many blank lines is found in its line.
    for (name, text, line) in [
        (
            "a.jsonl",
            format!("{blank}{{\"prompt\": 1, \"completion\": null}}"),
            10_000_001,
        ),
        (
            "a.csv",
            format!("prompt,completion\n{}a", &blank[..1_000_000]),
            1_000_002,
        ),
    ] {
        let path = folder.path().join(name);
        write(&path, text);
        let told = read(&path).expect_err(name).to_string();
        assert!(told.contains(&format!("line {line}")), "{told}");
    }
    // Of separated values so many blank lines cannot be told from a quote that is never closed.
    let told = error_of("a.csv", format!("prompt,completion\n{blank}").as_bytes());
    assert!(told.contains("perhaps a quote is not closed"), "{told}");
    for (name, bytes) in [
        (
            "a.arrow",
            arrow_file(&[table(&[json!({"prompt": "a", "completion": "b"})]).slice(0, 0)]),
        ),
        (
            "b.arrow",
            arrow_stream(&[table(&[json!({"prompt": "a", "completion": "b"})]).slice(0, 0)]),
        ),
    ] {
        let path = folder.path().join(name);
        write(&path, bytes);
        assert_eq!(read(&path).expect(name).len(), 0, "{name}");
    }
}

/// As pyarrow 26 writes a table of two columns unless it is told otherwise.
#[test]
fn compressed_arrow_files_are_errors() {
    let bytes = include_bytes!("../fixtures/compressed.feather");
    let told = error_of("a.feather", bytes);
    for part in ["as Arrow IPC", "and not compressed"] {
        assert!(told.contains(part), "{part:?} in {told}");
    }
}

#[test]
fn what_is_no_file_is_an_error() {
    let folder = folder();
    let inner = folder.path().join("x.jsonl");
    std::fs::create_dir(&inner).expect("a folder");
    let told = read(&inner).expect_err("an empty folder").to_string();
    assert!(told.contains("x.jsonl holds no train file"), "{told}");
    let told = read("/dev/null").expect_err("a device").to_string();
    assert!(
        told.contains("/dev/null is a device, a pipe or a socket; copy"),
        "{told}"
    );
    // A pipe without a writer is not opened, whether it is named or lies in a folder.
    let pipe = inner.join("train.jsonl");
    let made = Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        let told = read(&pipe).expect_err("a pipe").to_string();
        assert!(
            told.contains("a pipe or a socket; copy what it gives"),
            "{told}"
        );
        let told = read(&inner).expect_err("a pipe").to_string();
        assert!(
            told.contains("train.jsonl is not a regular file: copy"),
            "{told}"
        );
    }
}
