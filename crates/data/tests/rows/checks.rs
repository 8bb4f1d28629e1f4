//! Rows and columns that are read, and those that are refused.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use plw_data::{
    ColumnOptions, Problem, Question, ReadOptions, RowError, Source, Split, read_examples,
};

use crate::cases::{Columns, Row, columns, folder, good, read, skipping, stored_as, write};

#[test]
fn every_type_of_text_reads_alike() {
    let dictionary = |key, text| DataType::Dictionary(Box::new(key), Box::new(text));
    let texts = [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        dictionary(DataType::Int32, DataType::Utf8),
        dictionary(DataType::UInt8, DataType::LargeUtf8),
    ];
    let lists: [fn(Arc<Field>) -> DataType; 4] = [
        DataType::List,
        DataType::LargeList,
        DataType::ListView,
        |item| DataType::FixedSizeList(item, 3),
    ];
    let folder = folder();
    let mut second = good();
    second.options = Some(vec![Some("x"), Some("y"), Some("z")]);
    second.answer = Some("C");
    for text in &texts {
        for list in lists {
            let path = folder.path().join("middle/a.parquet");
            write(&path, stored_as(&[good(), second.clone()], text, list));
            let examples = read(&path, &ReadOptions::default()).expect("good rows");
            let options: Vec<_> = examples
                .iter()
                .map(|e| (e.options.join("|"), e.answer_letter(), e.row))
                .collect();
            assert_eq!(
                options,
                [
                    ("A dog|A cat|\u{2014}".into(), 'B', 0),
                    ("x|y|z".into(), 'C', 1)
                ],
                "{text}"
            );
            let Question {
                file,
                example_id,
                level,
                article,
                question,
                columns,
                ..
            } = &examples[0];
            assert_eq!(**file, *path.display().to_string());
            let article = article.as_deref().expect("a passage");
            let texts = [example_id.as_str(), level, article, question];
            assert_eq!(
                texts,
                [
                    "middle1.txt",
                    "middle",
                    "Ann saw a cat.",
                    "What did Ann see?"
                ]
            );
            assert!(columns.is_empty());
        }
    }
}

/// A bad row: the change that makes it bad, the column and problem, and a part of the message.
type BadRow = (fn(&mut Row), &'static str, Problem, &'static str);

#[rustfmt::skip]
const BAD_ROWS: [BadRow; 16] = [
    (|row| row.article = None, "article", Problem::Null, ""),
    (|row| row.article = Some(" \n"), "article", Problem::Empty, ""),
    (|row| row.question = Some(""), "question", Problem::Empty, ""),
    (|row| row.example_id = Some(""), "example_id", Problem::Empty, ""),
    (|row| row.options = None, "options", Problem::Null, ""),
    (|row| row.options = Some(vec![]), "options", Problem::OptionCount, "holds 0"),
    (|row| row.options = Some(vec![Some("x")]), "options", Problem::OptionCount, "holds 1"),
    (|row| row.options = Some(vec![Some("x"); 27]), "options", Problem::OptionCount, "holds 27"),
    (|row| row.options = Some(vec![Some("x"), None]), "options", Problem::EmptyOption, "(B)"),
    (|row| row.options = Some(vec![Some(" "), Some("x")]), "options", Problem::EmptyOption, "(A)"),
    (|row| row.answer = None, "answer", Problem::Null, ""),
    (|row| row.answer = Some(""), "answer", Problem::Empty, ""),
    (|row| row.answer = Some("D"), "answer", Problem::NoSuchOption, "letters are A to C"),
    (|row| row.answer = Some("b"), "answer", Problem::NoSuchOption, "\"b\""),
    (|row| row.answer = Some("AB"), "answer", Problem::NoSuchOption, "\"AB\""),
    (|row| row.answer = Some("1"), "answer", Problem::UnclearNumber, "(1)"),
];

#[test]
fn an_error_names_the_bad_row_and_what_is_wrong() {
    let folder = folder();
    let path = folder.path().join("rows.parquet");
    for (change, column, problem, shown) in BAD_ROWS {
        let mut bad = good();
        change(&mut bad);
        write(&path, columns(&[good(), good(), bad, good()]));
        let error = read(&path, &ReadOptions::default()).expect_err("a bad row");
        let RowError::BadRow {
            row: 2,
            column: named,
            problem: told,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!((named.as_str(), *told), (column, problem), "{error}");
        let path = path.display().to_string();
        for part in [&path, "row 2", column, shown, "on_bad_row = \"skip\""] {
            assert!(error.to_string().contains(part), "{part:?} in {error}");
        }
    }
}

#[test]
fn skipped_rows_are_counted_by_column_and_problem() {
    let folder = folder();
    let path = folder.path().join("rows.parquet");
    for (change, column, problem, _) in BAD_ROWS {
        let mut bad = good();
        change(&mut bad);
        write(&path, columns(&[good(), good(), bad, good()]));
        let source = Source::Path(path.clone());
        let mut reader = read_examples(
            &source,
            Split::Train,
            &ColumnOptions::default(),
            &skipping(),
        )
        .expect("a file");
        let rows: Vec<_> = reader
            .by_ref()
            .map(|row| row.expect("skipped").row())
            .collect();
        assert_eq!(rows, [0, 1, 3]);
        assert_eq!(reader.skipped().rows, 1);
        assert_eq!(reader.skipped().reasons[&(column.to_owned(), problem)], 1);
    }
}

#[test]
fn an_error_ends_the_reading() {
    let folder = folder();
    let path = folder.path().join("rows.parquet");
    let mut bad = good();
    bad.answer = None;
    write(&path, columns(&[bad, good()]));
    let mut reader = read_examples(
        &Source::Path(path),
        Split::Train,
        &ColumnOptions::default(),
        &ReadOptions::default(),
    )
    .expect("a file");
    assert!(reader.next().is_some_and(|row| row.is_err()));
    assert!(reader.next().is_none());
}

#[test]
fn two_to_twenty_six_options_are_read() {
    let folder = folder();
    let path = folder.path().join("rows.parquet");
    let row = |count, answer| Row {
        options: Some(vec![Some("x"); count]),
        answer: Some(answer),
        ..good()
    };
    write(&path, columns(&[row(2, "B"), row(26, "Z")]));
    let examples = read(&path, &ReadOptions::default()).expect("good rows");
    assert_eq!(
        examples
            .iter()
            .map(|e| (e.options.len(), e.answer))
            .collect::<Vec<_>>(),
        [(2, 1), (26, 25)]
    );
}

#[test]
fn wrong_columns_are_named() {
    let numbers = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
    let without = |name| {
        columns(&[good()])
            .into_iter()
            .filter(|(n, _)| *n != name)
            .collect::<Columns>()
    };
    let with = |name, column| {
        let mut columns = without(name);
        columns.push((name, column));
        columns
    };
    let text: ArrayRef = Arc::new(StringArray::from(vec!["A, B"]));
    let item = Arc::new(Field::new_list_field(DataType::Date64, true));
    let list_of_dates = cast(&numbers(), &DataType::List(item)).expect("a cast");
    let cases = [
        (without("question"), ["`question`", "`options` (List"]),
        (without("options"), ["`options`", "`article` (Utf8)"]),
        (
            with("answer", numbers()),
            ["`answer`", "type Int64, but should be text"],
        ),
        (
            with("options", text),
            ["`options`", "type Utf8, but should be a list of text"],
        ),
        (
            with("options", list_of_dates),
            ["`options`", "but should be a list of text"],
        ),
    ];
    let folder = folder();
    for (columns, parts) in cases {
        let path = folder.path().join("rows.parquet");
        write(&path, columns);
        // A wrong column is not a bad row: skipping does not hide it.
        let error = read(&path, &skipping())
            .expect_err("a wrong column")
            .to_string();
        for part in [&path.display().to_string(), parts[0], parts[1]] {
            assert!(error.contains(part), "{part:?} in {error}");
        }
    }
    let path = folder.path().join("notes.parquet");
    std::fs::write(&path, "no parquet").expect("a file");
    let error = read(&path, &skipping())
        .expect_err("no parquet")
        .to_string();
    assert!(error.contains("notes.parquet"), "{error}");
}
