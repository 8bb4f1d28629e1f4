//! Rows that are no example: each is an error that names it, or is skipped and counted.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use plw_data::{ColumnOptions, LONGEST_ROW, Problem, ReadOptions, RowError, Split};
use serde_json::{Value, json};

use crate::bad_row_cases::BAD_ROWS;
use crate::cases::{column_options, folder, read_all, skipping, write};
use crate::table::{arrow_file, parquet};

/// Checks that the second of three rows is refused, and skipped on request.
fn check(name: &str, bytes: &[u8], columns: &ColumnOptions, case: (&str, Problem, &str)) {
    let (column, problem, part) = case;
    let folder = folder();
    let path = folder.path().join(name);
    write(&path, bytes);
    let read = |options: &ReadOptions| read_all(&path, Split::Train, columns, options);
    let error = read(&ReadOptions::default()).expect_err(name);
    let told = error.to_string();
    let RowError::BadRow {
        row: 1,
        line,
        column: named,
        problem: found,
        ..
    } = error
    else {
        panic!("{told}")
    };
    assert_eq!((named.as_str(), found), (column, problem), "{told}");
    let is_text = !name.ends_with("parquet") && !name.ends_with("arrow");
    let place = match is_text {
        true => "row 1 (the first is 0, line 2): ".to_owned(),
        false => "row 1 (the first is 0): ".to_owned(),
    };
    assert_eq!(line, is_text.then_some(2));
    let what = match column {
        "" => format!("it {problem}"),
        column => format!("column `{column}` {problem}"),
    };
    let file = path.display().to_string();
    for part in [
        &file,
        &place,
        &what,
        part,
        "skip bad rows with on_bad_row = \"skip\"",
    ] {
        assert!(told.contains(part), "{part:?} in {told}");
    }
    let (examples, skipped) = read(&skipping()).unwrap_or_else(|error| panic!("{told}: {error}"));
    let rows: Vec<u64> = examples.iter().map(|example| example.row()).collect();
    assert_eq!((rows.as_slice(), skipped.rows), (&[0, 2][..], 1), "{told}");
    assert_eq!(skipped.reasons[&(column.to_owned(), problem)], 1, "{told}");
}

#[test]
fn bad_rows_are_refused_or_skipped() {
    for (good, bad, column, problem, part) in BAD_ROWS {
        let (good, bad) = (good.replace('\n', " "), bad.replace('\n', " "));
        let case = (column, problem, part);
        let columns = ColumnOptions::default();
        let lines = format!("{good}\n{bad}\n{good}\n");
        check("rows.jsonl", lines.as_bytes(), &columns, case);
        // The second line of an array is its second item.
        if serde_json::from_str::<Value>(&bad).is_ok() {
            let array = format!("[{good},\n{bad}\n,{good}]");
            check("rows.json", array.as_bytes(), &columns, case);
        }
    }
}

#[test]
fn text_that_is_not_utf8_is_a_bad_row() {
    let columns = ColumnOptions::default();
    let row = |text: &[u8]| [b"{\"prompt\": \"", text, b"\", \"completion\": \"b\"}\n"].concat();
    let lines = [row(b"a"), row(b"\xff\xfe"), row(b"c")].concat();
    let case = ("", Problem::NotJson, "invalid unicode code point");
    check("rows.jsonl", &lines, &columns, case);
    let table = b"prompt,completion\n".to_vec();
    let table = [table, b"a,b\n".to_vec()].concat();
    // The first line names the columns, so that the second row is in line 3.
    let path_and_bytes = [table, b"\xc3,b\na,b\n".to_vec()].concat();
    let folder = folder();
    let path = folder.path().join("rows.csv");
    write(&path, path_and_bytes);
    let told = crate::cases::read(&path)
        .expect_err("not UTF-8")
        .to_string();
    for part in [
        "row 1 (the first is 0, line 3)",
        "`prompt` is not valid UTF-8 (from its byte 0 on)",
    ] {
        assert!(told.contains(part), "{part:?} in {told}");
    }
}

#[test]
fn separated_rows_are_refused_or_skipped() {
    let columns = ColumnOptions::default();
    let numbered = column_options(json!({"answer_style": "number-from-1"}));
    let cases: [(&str, &ColumnOptions, &str, &str, Problem, &str); 9] = [
        (
            "prompt,completion",
            &columns,
            "a",
            "",
            Problem::FieldCount,
            "it has 1, and the first line 2",
        ),
        (
            "prompt,completion",
            &columns,
            "a,b,c",
            "",
            Problem::FieldCount,
            "it has 3",
        ),
        (
            "prompt,completion",
            &columns,
            "   ",
            "",
            Problem::FieldCount,
            "it has 1",
        ),
        (
            "prompt,completion",
            &columns,
            "a,\" \"",
            "completion",
            Problem::Empty,
            "",
        ),
        (
            "prompt,completion",
            &columns,
            "\"\",b",
            "prompt",
            Problem::Empty,
            "",
        ),
        (
            "question,A,B,answer",
            &columns,
            "q,x,y,1",
            "answer",
            Problem::UnclearNumber,
            "(1): say so with answer_style",
        ),
        (
            "question,A,B,answer",
            &columns,
            "q,x,,A",
            "A",
            Problem::EmptyOption,
            "(B)",
        ),
        (
            "question,A,B,answer",
            &columns,
            "q,x,y,",
            "answer",
            Problem::Empty,
            "",
        ),
        (
            "question,A,B,answer",
            &numbered,
            "q,x,y,0",
            "answer",
            Problem::NoSuchOption,
            "1 to 2",
        ),
    ];
    let folder = folder();
    for (names, columns, bad, column, problem, part) in cases {
        let good = match names.starts_with('p') {
            true => "a,b",
            false if columns.answer_style.is_some() => "q,x,y,2",
            false => "q,x,y,B",
        };
        for line_end in ["\n", "\r\n"] {
            let path = folder.path().join("rows.csv");
            write(&path, [names, good, bad, good].join(line_end));
            let read = |options: &ReadOptions| read_all(&path, Split::Train, columns, options);
            let told = read(&ReadOptions::default()).expect_err(bad).to_string();
            for part in ["rows.csv, row 1 (the first is 0, line 3)", column, part] {
                assert!(told.contains(part), "{part:?} in {told}");
            }
            let (examples, skipped) = read(&skipping()).expect("good rows");
            assert_eq!((examples.len(), skipped.rows), (2, 1), "{told}");
            assert_eq!(skipped.reasons[&(column.to_owned(), problem)], 1, "{told}");
        }
    }
}

/// JSON has no such numbers; tables have.
#[test]
fn weights_of_tables_must_be_finite() {
    let weights: ArrayRef = Arc::new(Float32Array::from(vec![0.5, f32::INFINITY, 2.0]));
    let of_nan: ArrayRef = Arc::new(Float32Array::from(vec![0.5, f32::NAN, 2.0]));
    for weights in [weights, of_nan] {
        let text = |text| -> ArrayRef { Arc::new(StringArray::from(vec![text; 3])) };
        let message = StructArray::try_from(vec![
            ("role", text("assistant")),
            ("content", text("a")),
            ("weight", weights),
        ])
        .expect("columns of one length");
        let item = Arc::new(Field::new_list_field(
            DataType::clone(arrow::array::Array::data_type(&message)),
            true,
        ));
        let lengths = OffsetBuffer::from_lengths([1; 3]);
        let messages = ListArray::new(item, lengths, Arc::new(message), None);
        let batch = RecordBatch::try_from_iter([("messages", Arc::new(messages) as ArrayRef)]);
        let batch = batch.expect("a table");
        let case = ("messages", Problem::NotAWeight, "turn 0");
        check(
            "rows.parquet",
            &parquet(&batch),
            &ColumnOptions::default(),
            case,
        );
        check(
            "rows.arrow",
            &arrow_file(&[batch]),
            &ColumnOptions::default(),
            case,
        );
    }
}

#[test]
fn rows_that_are_too_long_are_refused_or_skipped() {
    let columns = ColumnOptions::default();
    let row = |text: &str| format!("{{\"prompt\": \"{text}\", \"completion\": \"b\"}}");
    let long = row(&"x".repeat(LONGEST_ROW));
    // Text of escapes, JSON of white space, and lists of very many items.
    let escaped = row(&"\\u00e9".repeat(LONGEST_ROW / 2 + 1));
    let spaced = format!("{{{} \"prompt\": \"a\"}}", " ".repeat(4 * LONGEST_ROW));
    let listed = format!(
        "{{\"prompt\": \"a\", \"completion\": [{}1]}}",
        "{},".repeat(600_000)
    );
    for (bad, column, part) in [
        (
            &long,
            "prompt",
            format!("{LONGEST_ROW} of its {} bytes", LONGEST_ROW + 1),
        ),
        (
            &escaped,
            "prompt",
            format!("at most {LONGEST_ROW} are read"),
        ),
        (
            &spaced,
            "",
            format!("it has more than {} bytes of JSON", 4 * LONGEST_ROW),
        ),
        (
            &listed,
            "completion",
            format!("at most {LONGEST_ROW} are read"),
        ),
    ] {
        let good = row("a");
        let case = (column, Problem::TooLong, part.as_str());
        check(
            "rows.jsonl",
            format!("{good}\n{bad}\n{good}\n").as_bytes(),
            &columns,
            case,
        );
        check(
            "rows.json",
            format!("[{good},\n{bad},\n{good}]").as_bytes(),
            &columns,
            case,
        );
    }
    let longest = row(&"x".repeat(LONGEST_ROW - 1));
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    write(&path, longest);
    assert_eq!(
        crate::cases::read(&path).expect("it is not too long").len(),
        1
    );
}

/// The parser of JSON would call itself for each level.
#[test]
fn json_that_is_nested_deep_is_refused_or_skipped() {
    let columns = ColumnOptions::default();
    let good = r#"{"prompt": "a", "completion": "b"}"#;
    for depth in [128, 1_000_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let bad = format!("{{\"prompt\": {nested}}}");
            let case = ("", Problem::NotJson, "recursion limit exceeded");
            check(
                "rows.jsonl",
                format!("{good}\n{bad}\n{good}").as_bytes(),
                &columns,
                case,
            );
            check(
                "rows.json",
                format!("[{good},\n{bad},{good}]").as_bytes(),
                &columns,
                case,
            );
        }
    }
    // As deep as the parser goes is read.
    let nested = format!("{}{}", "[".repeat(120), "]".repeat(120));
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    write(
        &path,
        format!("{{\"prompt\": \"a\", \"completion\": \"b\", \"other\": {nested}}}"),
    );
    assert_eq!(crate::cases::read(&path).expect("a good row").len(), 1);
}

/// As in Python's json, the last of equal keys counts.
#[test]
fn of_equal_keys_the_last_counts() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    write(
        &path,
        r#"{"prompt": "a", "completion": "b", "prompt": "c"}"#,
    );
    let examples = crate::cases::read(&path).expect("a good row");
    let said = crate::cases::said(&examples[0]);
    assert_eq!(said["turns"][0][0]["content"], "c");
}

#[test]
fn skipped_rows_are_told_in_words() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    write(
        &path,
        "x\n{\"prompt\": \"a\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n7\n8\n",
    );
    let (_, skipped) =
        read_all(&path, Split::Train, &ColumnOptions::default(), &skipping()).expect("a good row");
    assert_eq!(
        skipped.to_string(),
        "4 rows skipped: 1 because it is not valid JSON, 2 because it is not a JSON object, \
         1 because column `completion` is missing"
    );
}
