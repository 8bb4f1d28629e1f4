//! Files that are not what they seem, and rows that no model could use: each is an error that names
//! file, row and column, and a bad row is skipped on request.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use plw_data::{LONGEST_ROW, Problem, ReadOptions, RowError, Source, Split, read_text};

use crate::cases::{Columns, Row, columns, folder, good, read, skipping, write, write_with};

/// The ways to store text that writers use.
fn ways_to_store() -> Vec<(&'static str, WriterProperties)> {
    let with = |encoding| {
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(encoding)
    };
    vec![
        ("dictionaries", WriterProperties::default()),
        ("plain", with(Encoding::PLAIN).build()),
        ("lengths", with(Encoding::DELTA_LENGTH_BYTE_ARRAY).build()),
        (
            "shared beginnings",
            with(Encoding::DELTA_BYTE_ARRAY).build(),
        ),
        (
            "pages of version 2",
            with(Encoding::DELTA_BYTE_ARRAY)
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .build(),
        ),
    ]
}

/// Replaces the text `@@` in the bytes of a file by bytes that are not UTF-8.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    let places: Vec<usize> = (1..bytes.len())
        .filter(|&end| bytes[end - 1..=end] == *b"@@")
        .collect();
    assert!(!places.is_empty());
    for end in places {
        bytes[end - 1..=end].copy_from_slice(b"\xff\xfe");
    }
    std::fs::write(path, bytes).expect("a file");
}

/// The columns of these rows, and another of hints.
fn with_hints(rows: &[Row], hints: [&str; 3]) -> Columns {
    let hints: ArrayRef = Arc::new(StringArray::from(hints.to_vec()));
    let mut all = columns(rows);
    all.push(("hint", hints));
    all
}

#[test]
fn text_that_is_not_utf8_names_its_row_and_column() {
    let folder = folder();
    let path = folder.path().join("rows.parquet");
    type Change = (&'static str, fn(&mut Row));
    let changes: [Change; 4] = [
        ("article", |row| row.article = Some("Ann @@ saw a cat.")),
        ("answer", |row| row.answer = Some("@@")),
        ("question", |row| {
            row.question = Some("What did Ann @@ see?")
        }),
        ("options", |row| {
            row.options = Some(vec![Some("A dog"), Some("A @@ cat"), Some("none")]);
        }),
    ];
    for (way, properties) in ways_to_store() {
        for (column, change) in changes {
            let mut bad = good();
            change(&mut bad);
            let rows = with_hints(&[good(), bad, good()], ["a", "b", "c"]);
            write_with(&path, rows, properties.clone());
            damage(&path);
            check_not_utf8(&path, column, way);
        }
        let rows = with_hints(&[good(), good(), good()], ["a", "b @@", "c"]);
        write_with(&path, rows, properties.clone());
        damage(&path);
        check_not_utf8(&path, "hint", way);
    }
}

fn check_not_utf8(path: &Path, column: &str, way: &str) {
    let error = read(path, &ReadOptions::default()).expect_err("a bad row");
    let told = error.to_string();
    let RowError::BadRow {
        row: 1,
        column: named,
        problem: Problem::NotUtf8,
        ..
    } = &error
    else {
        panic!("{way}: {told}")
    };
    assert_eq!(named, column, "{way}: {told}");
    assert!(
        told.contains("is not valid UTF-8 (from its byte "),
        "{told}"
    );
    let rows = read(path, &skipping()).expect("good rows");
    let rows: Vec<u64> = rows.iter().map(|example| example.row).collect();
    assert_eq!(rows, [0, 2], "{way}");
}

#[test]
fn a_row_that_is_too_long_is_a_bad_row() {
    let folder = folder();
    let path = folder.path().join("train.parquet");
    let long: &'static str = Box::leak("x ".repeat(LONGEST_ROW / 2).into_boxed_str());
    let rows = [
        good(),
        Row {
            article: Some(long),
            ..good()
        },
        good(),
    ];
    for (way, properties) in ways_to_store() {
        write_with(&path, columns(&rows), properties);
        let error = read(&path, &ReadOptions::default())
            .expect_err("a long row")
            .to_string();
        let longest = format!("at most {LONGEST_ROW} are read");
        for part in ["train.parquet, row 1", "column `article`", &longest] {
            assert!(error.contains(part), "{way}: {error}");
        }
        let read = read(&path, &skipping()).expect("good rows");
        assert_eq!(
            read.iter().map(|e| e.row).collect::<Vec<_>>(),
            [0, 2],
            "{way}"
        );
    }
    // The longest row is read.
    let texts: ArrayRef = Arc::new(StringArray::from(vec![long]));
    write(&path, vec![("text", texts)]);
    let options = ReadOptions::default();
    let mut texts = read_text(&Source::Path(path), Split::Train, "text", &options).expect("a file");
    let text = texts.next().expect("a row").expect("a good row");
    assert_eq!((text.row, text.text.len()), (0, LONGEST_ROW));
}

#[test]
fn files_that_are_not_parquet_are_called_what_they_are() {
    let folder = folder();
    let path = folder.path().join("train.parquet");
    write(&path, columns(&[good()]));
    let whole = std::fs::read(&path).expect("a file");
    let half = &whole[..whole.len() / 2];
    let cases: [(&[u8], &str); 9] = [
        (
            b"{\"article\": \"a\"}\n{\"article\": \"b\"}\n",
            "looks like JSON",
        ),
        (b" [1, 2]", "looks like JSON"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "`git lfs pull`",
        ),
        (b"<!DOCTYPE html>", "looks like a web page"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\0", "unpack it first"),
        (b"", "it is empty"),
        (b"PAR1", "its end is missing"),
        (half, "its end is missing"),
        (b"article,answer\n", "convert it to parquet"),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).expect("a file");
        let error = read(&path, &skipping())
            .expect_err("no parquet")
            .to_string();
        for part in ["train.parquet is not a parquet file", expected] {
            assert!(error.contains(part), "{part:?} in {error}");
        }
    }
    let error = read("/dev/null", &skipping()).expect_err("a device");
    assert!(error.to_string().contains("/dev/null"), "{error}");
}

#[test]
fn a_footer_that_lies_is_an_error() {
    let folder = folder();
    let path = folder.path().join("train.parquet");
    write(&path, columns(&[good()]));
    let whole = std::fs::read(&path).expect("a file");
    for footer in [u32::MAX, whole.len() as u32, 0, 3] {
        let mut bytes = whole.clone();
        let at = bytes.len() - 8;
        bytes[at..at + 4].copy_from_slice(&footer.to_le_bytes());
        std::fs::write(&path, bytes).expect("a file");
        let error = read(&path, &skipping()).expect_err("damaged").to_string();
        assert!(error.contains("cannot read"), "{footer}: {error}");
    }
}

#[test]
fn a_row_group_with_another_number_of_rows_is_an_error() {
    let folder = folder();
    let path = folder.path().join("train.parquet");
    write(&path, columns(&vec![good(); 61]));
    let whole = std::fs::read(&path).expect("a file");
    let end = whole.len() - 8;
    let footer = u32::from_le_bytes(whole[end..end + 4].try_into().expect("four bytes"));
    for (rows, is_right) in [(61, true), (60, false), (62, false), (0, false)] {
        // In the footer, a number of rows is a field of 64 bits behind another, in zigzag encoding.
        let mut bytes = whole.clone();
        for at in end - footer as usize..end {
            if bytes[at..at + 2] == [0x16, 61 * 2] {
                bytes[at + 1] = rows * 2;
            }
        }
        std::fs::write(&path, bytes).expect("a file");
        match read(&path, &skipping()) {
            Ok(examples) => assert!(is_right && examples.len() == 61, "{rows}"),
            Err(error) => {
                let told = error.to_string();
                assert!(
                    !is_right && told.contains("another number of rows"),
                    "{rows}: {told}"
                );
            }
        }
    }
}

/// Pages are read by all compressions alike, and a page that is compressed well is not taken for
/// one that lies.
#[test]
fn compressed_files_are_read() {
    let folder = folder();
    let path = folder.path().join("train.parquet");
    let long: &'static str = Box::leak("word ".repeat(200_000).into_boxed_str());
    let row = Row {
        article: Some(long),
        ..good()
    };
    let rows = vec![row; 3];
    for compression in [
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ] {
        let properties = WriterProperties::builder().set_compression(compression);
        write_with(&path, columns(&rows), properties.build());
        let examples = read(&path, &ReadOptions::default()).expect("good rows");
        assert_eq!(examples.len(), 3, "{compression:?}");
        assert!(
            examples
                .iter()
                .all(|example| example.article.as_deref() == Some(long))
        );
    }
}
