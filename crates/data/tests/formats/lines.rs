//! Errors name the row, and in a file of text its first line.

use plw_data::{ReadOptions, RowError};
use serde_json::json;

use crate::cases::{folder, gzip, read, read_all, skipping, write, zstandard};

const GOOD: &str = r#"{"prompt": "a", "completion": "b"}"#;
const BAD: &str = r#"{"prompt": "a", "completion": null}"#;

#[test]
fn a_bad_row_is_found_by_its_number_and_line() {
    let by_line = |rows: &[&str]| rows.join("\n");
    let table = |rows: &[&str]| format!("prompt,completion\n{}", rows.join("\n"));
    // The text of a file, the row that is bad, and its line.
    let cases: [(&str, String, u64, u64); 15] = [
        ("a.jsonl", by_line(&[BAD]), 0, 1),
        ("a.jsonl", by_line(&[GOOD, GOOD, BAD, GOOD]), 2, 3),
        ("a.jsonl", by_line(&["", GOOD, " ", "\t", BAD]), 1, 5),
        ("a.jsonl", by_line(&[GOOD, BAD]).replace('\n', "\r\n"), 1, 2),
        ("a.json", format!("[{GOOD}, {BAD}]"), 1, 1),
        ("a.json", format!("[\n{GOOD},\n\n{BAD}\n]"), 1, 4),
        (
            "a.json",
            serde_json::to_string_pretty(&json!([
                {"prompt": "a", "completion": "b"},
                {"prompt": "a", "completion": null},
            ]))
            .expect("JSON"),
            1,
            6,
        ),
        ("a.csv", table(&["a,b", "a,"]), 1, 3),
        ("a.csv", table(&["\"a\n\n\",b", "a,"]), 1, 5),
        ("a.csv", table(&["a,b", "\"\n\",b", "\" \n\",\"\n\""]), 1, 3),
        ("a.csv", table(&["a,b", "", "", "a,", "a,b"]), 1, 5),
        ("a.csv", table(&["a,b", "a,"]).replace('\n', "\r\n"), 1, 3),
        (
            "a.csv",
            table(&["a,b", "", "a,", ""]).replace('\n', "\r\n"),
            1,
            4,
        ),
        ("a.csv", format!("\n\n{}", table(&["a,"])), 0, 4),
        ("a.tsv", "prompt\tcompletion\n\ta\n".to_owned(), 0, 2),
    ];
    let folder = folder();
    for (name, text, row, line) in cases {
        let bytes = text.as_bytes();
        for (packed, bytes) in [
            (name.to_owned(), bytes.to_vec()),
            (format!("{name}.gz"), gzip(bytes)),
            (format!("{name}.zst"), zstandard(bytes)),
        ] {
            let path = folder.path().join(packed);
            write(&path, bytes);
            let error = read(&path).expect_err(&text);
            let told = error.to_string();
            let RowError::BadRow {
                row: at, line: on, ..
            } = error
            else {
                panic!("{text:?}: {told}")
            };
            assert_eq!((at, on), (row, Some(line)), "{text:?}: {told}");
            let place = format!(
                "{}, row {row} (the first is 0, line {line}): ",
                path.display()
            );
            assert!(told.starts_with(&place), "{told}");
        }
    }
}

/// What the parser says counts from the row's beginning; what is told counts from the file's.
#[test]
fn invalid_json_is_found_in_its_line() {
    let cases = [
        (
            format!("{GOOD}\n{{\"prompt\": x}}"),
            "(the first is 0, line 2)",
            "at its byte 12",
        ),
        (
            format!("[{GOOD},\n{{\n\"prompt\":\nx}}]"),
            "(the first is 0, line 2)",
            "in line 4",
        ),
    ];
    let folder = folder();
    let path = folder.path().join("rows.json");
    for (text, place, part) in cases {
        write(&path, &text);
        let told = read(&path).expect_err(&text).to_string();
        for part in [
            "row 1",
            place,
            "it is not valid JSON (expected value, ",
            part,
        ] {
            assert!(told.contains(part), "{part:?} in {told}");
        }
    }
}

/// Rows that are not as the first good one are bad rows, wherever they are.
#[test]
fn the_first_row_may_be_bad() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    let good = r#"{"question": "Why?", "options": ["x", "y"], "answer": "B"}"#;
    for (bad, part) in [
        (
            r#"{"question": "Why?", "options": ["x", "y"]}"#,
            "column `answer` is missing",
        ),
        (
            r#"{"question": "Why?", "options": ["x", "y"], "answer": 1}"#,
            "answer_style = \"number-from-0\"",
        ),
        (
            r#"{"question": "Why?", "options": [], "answer": "A"}"#,
            "(it holds 0)",
        ),
        (
            r#"{"question": 1, "options": ["x", "y"], "answer": "A"}"#,
            "should be text",
        ),
        (r#"{"text": "Why?"}"#, "column `question` is missing"),
        ("{}", "column `question` is missing"),
        ("[]]", "not valid JSON"),
        ("17", "not a JSON object"),
    ] {
        // A file that begins with a bracket is an array.
        let bad = bad.replace("[]]", " x");
        write(&path, format!("{bad}\n{good}\n"));
        let told = read(&path).expect_err(&bad).to_string();
        for part in ["row 0 (the first is 0, line 1)", part] {
            assert!(told.contains(part), "{part:?} in {told}");
        }
        let (examples, skipped) = read_all(
            &path,
            plw_data::Split::Train,
            &plw_data::ColumnOptions::default(),
            &skipping(),
        )
        .expect("a good row");
        let rows: Vec<u64> = examples.iter().map(|example| example.row()).collect();
        assert_eq!((rows.as_slice(), skipped.rows), (&[1][..], 1), "{bad}");
    }
}

#[test]
fn the_limit_ends_a_file_of_text() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    write(&path, format!("{GOOD}\n{GOOD}\nnot read\n"));
    let options = ReadOptions {
        limit: Some(2),
        ..ReadOptions::default()
    };
    let columns = plw_data::ColumnOptions::default();
    let read = read_all(&path, plw_data::Split::Train, &columns, &options);
    assert_eq!(read.expect("two rows").0.len(), 2);
}
