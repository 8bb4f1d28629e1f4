//! The same rows in every format and compression are the same examples.

use std::path::Path;

use plw_data::{ColumnOptions, ReadOptions, Split};
use serde_json::{Value, json};

use crate::cases::{
    column_options, folder, gzip, lines, read, read_all, said, skipping, write, zstandard,
};
use crate::table::{arrow_file, arrow_stream, is_list_of_structs, parquet, separated, table};

/// Conversations with everything that a table can hold of them.
fn conversations() -> Vec<Value> {
    vec![
        json!({"id": "one", "messages": [
            {"role": "system", "content": "Short."},
            {"role": "user", "content": "Où? \"There\", he said;\n日本 😀"},
            {"role": "assistant", "content": "Ici\t.", "weight": 0.5},
        ]}),
        json!({"id": "two", "source": "book", "messages": [
            {"role": "user", "content": "a", "name": "Ann"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "content": "1"},
            {"role": "assistant", "content": "b"},
        ]}),
        json!({"id": "three", "score": 1.5, "messages": [
            {"role": "user", "content": ""},
            {"role": "assistant", "content": " \r\n "},
        ]}),
    ]
}

/// Rows that separated values can hold too. The last row has fewer options.
fn questions() -> Vec<Value> {
    let row = |id: &str, question: &str, options: [&str; 4], answer: &str| {
        let [a, b, c, d] = options;
        json!({"id": id, "question": question, "A": a, "B": b, "C": c, "D": d, "answer": answer})
    };
    vec![
        row("q1", "Why, \"Ann\"?", ["a,b", "c\td", "e\nf", "\"g\""], "C"),
        row("q2", "Où?\r\nLà", ["日本", "😀", "'", "\\"], "A"),
        row("q3", " spaces ", ["x", "y", "", ""], "B"),
    ]
}

fn said_of(path: &Path) -> Vec<Value> {
    let examples = read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    examples.iter().map(said).collect()
}

/// The ways to write rows as text of JSON: a name, and the text.
fn as_json(rows: &[Value]) -> Vec<(&'static str, Vec<u8>)> {
    let by_line = lines(rows);
    let array = Value::from(rows.to_vec());
    let pretty = serde_json::to_string_pretty(&array).expect("JSON");
    let items: Vec<String> = rows.iter().map(Value::to_string).collect();
    let marked = |text: &str| [b"\xef\xbb\xbf", text.as_bytes()].concat();
    vec![
        ("lines", by_line.clone().into()),
        ("no last line end", by_line.trim_end().into()),
        ("CRLF", by_line.replace('\n', "\r\n").into()),
        (
            "blank lines",
            format!("\n \n{}\n\n", by_line.replace('\n', "\n\t\r\n")).into(),
        ),
        ("marked", marked(&by_line)),
        ("array in one line", array.to_string().into()),
        ("pretty array", pretty.clone().into()),
        (
            "pretty array with CRLF",
            pretty.replace('\n', "\r\n").into(),
        ),
        ("marked array", marked(&format!("\n{pretty}\n\n"))),
        (
            "an item in each line",
            format!("[\n{}\n]", items.join("\n,\n")).into(),
        ),
    ]
}

#[test]
fn json_of_every_layout_and_compression_reads_alike() {
    let folder = folder();
    for rows in [conversations(), questions()] {
        let path = folder.path().join("rows.jsonl");
        write(&path, lines(&rows));
        let expected = said_of(&path);
        assert_eq!(expected.len(), 3);
        for (way, text) in as_json(&rows) {
            let (first, second) = text.split_at(text.len() / 3);
            let files = [
                ("rows.json", text.clone()),
                ("rows.NDJSON", text.clone()),
                ("rows.jsonl.gz", gzip(&text)),
                ("rows.json.zst", zstandard(&text)),
                // Packed in two parts, and known by its first bytes alone.
                ("parts.gz", [gzip(first), gzip(second)].concat()),
                ("parts", [zstandard(first), zstandard(second)].concat()),
                ("rows", text),
            ];
            for (name, bytes) in files {
                let path = folder.path().join(name);
                write(&path, bytes);
                assert_eq!(said_of(&path), expected, "{way}, {name}");
            }
        }
    }
}

#[test]
fn tables_read_as_json_does() {
    let folder = folder();
    for rows in [conversations(), questions()] {
        let path = folder.path().join("rows.jsonl");
        write(&path, lines(&rows));
        let expected = said_of(&path);
        let whole = table(&rows);
        if let Some((_, messages)) = whole.schema().column_with_name("messages") {
            assert!(is_list_of_structs(messages.data_type()));
        }
        let batches = [whole.slice(0, 1), whole.slice(1, 0), whole.slice(1, 2)];
        for (name, bytes) in [
            ("rows.parquet", parquet(&whole)),
            ("rows.arrow", arrow_file(&batches)),
            ("rows.feather", arrow_file(std::slice::from_ref(&whole))),
            ("rows.ipc", arrow_stream(&batches)),
            ("stream.arrow", arrow_stream(&[whole])),
            ("file", arrow_file(&batches)),
            ("stream", arrow_stream(&batches)),
        ] {
            let path = folder.path().join(name);
            write(&path, bytes);
            assert_eq!(said_of(&path), expected, "{name}");
            // However few rows are decoded at a time, each has its own lists and its own number.
            let options = ReadOptions {
                batch_size: 1.try_into().expect("not zero"),
                ..ReadOptions::default()
            };
            let columns = ColumnOptions::default();
            let (examples, _) =
                read_all(&path, Split::Train, &columns, &options).expect("good rows");
            let rows: Vec<u64> = examples.iter().map(|example| example.row()).collect();
            assert_eq!(rows, [0, 1, 2], "{name}");
            let said: Vec<Value> = examples.iter().map(said).collect();
            assert_eq!(said, expected, "{name}");
        }
    }
}

#[test]
fn separated_values_read_as_json_does() {
    let folder = folder();
    let rows = questions();
    let path = folder.path().join("rows.jsonl");
    write(&path, lines(&rows));
    let mut expected = said_of(&path);
    for line_end in [csv::Terminator::Any(b'\n'), csv::Terminator::CRLF] {
        for (ending, delimiter) in [("csv", b','), ("tsv", b'\t')] {
            let text = separated(&rows, delimiter, line_end);
            let marked = [b"\xef\xbb\xbf", text.as_slice()].concat();
            let unended = text.trim_ascii_end().to_vec();
            for (name, bytes) in [
                (ending.to_owned(), text.clone()),
                (format!("{ending}.gz"), gzip(&text)),
                (format!("{ending}.ZST"), zstandard(&text)),
                (format!("marked.{ending}"), marked),
                (format!("unended.{ending}"), unended),
            ] {
                let path = folder.path().join(format!("rows.{name}"));
                write(&path, bytes);
                assert_eq!(said_of(&path), expected, "{name} {line_end:?}");
            }
        }
    }
    // Columns of other names, several of them for the options.
    let text = separated(&rows, b',', csv::Terminator::Any(b'\n'));
    let text = String::from_utf8(text).expect("UTF-8").replacen(
        "id,question,A,B,C,D,answer",
        "id,q,o1,o2,o3,o4,right",
        1,
    );
    let path = folder.path().join("renamed.csv");
    write(&path, text);
    let columns = column_options(json!({
        "column": "question=q,options=o1,options=o2,options=o3,options=o4,answer=right",
    }));
    let (examples, skipped) = read_all(&path, Split::Train, &columns, &skipping()).expect("a file");
    assert_eq!(skipped.rows, 0);
    for (said, expected) in examples.iter().map(said).zip(&mut expected) {
        for part in ["id", "question", "options", "answer"] {
            assert_eq!(said[part], expected[part]);
        }
    }
}
