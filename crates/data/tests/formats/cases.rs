//! Writes and reads the files of these tests.

use std::io::Write;
use std::path::{Path, PathBuf};

use plw_data::{
    ColumnOptions, Example, OnBadRow, ReadOptions, RowError, SkippedRows, Source, Split,
    read_examples,
};
use serde_json::{Value, json};

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Writes a file, and its folders.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, bytes).expect("a file");
}

/// An object in each line.
pub(crate) fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("memory");
    packed.finish().expect("memory")
}

pub(crate) fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

/// Settings of columns as a configuration writes them.
pub(crate) fn column_options(settings: Value) -> ColumnOptions {
    serde_json::from_value(settings).expect("settings of columns")
}

pub(crate) fn skipping() -> ReadOptions {
    ReadOptions {
        on_bad_row: OnBadRow::Skip,
        ..ReadOptions::default()
    }
}

/// The examples of a source, and the rows left out.
pub(crate) fn read_all(
    source: impl Into<PathBuf>,
    split: Split,
    columns: &ColumnOptions,
    options: &ReadOptions,
) -> Result<(Vec<Example>, SkippedRows), RowError> {
    let source = Source::Path(source.into());
    let mut reader = read_examples(&source, split, columns, options)?;
    let examples: Result<Vec<Example>, RowError> = reader.by_ref().collect();
    Ok((examples?, reader.skipped().clone()))
}

/// The training examples of a source.
pub(crate) fn read(source: impl Into<PathBuf>) -> Result<Vec<Example>, RowError> {
    let (columns, options) = (ColumnOptions::default(), ReadOptions::default());
    read_all(source, Split::Train, &columns, &options).map(|(examples, _)| examples)
}

/// What an example says, without where it is from.
pub(crate) fn said(example: &Example) -> Value {
    match example {
        Example::Question(question) => json!({
            "id": question.example_id,
            "article": question.article,
            "question": question.question,
            "options": question.options,
            "answer": question.answer,
            "columns": question.columns,
        }),
        Example::Conversation(conversation) => {
            let turns = conversation.turns.iter();
            let turns: Vec<Value> = turns
                .map(|turn| json!([turn.message, turn.weight, turn.is_completion]))
                .collect();
            json!({
                "id": conversation.example_id,
                "turns": turns,
                "tools": conversation.tools,
                "fields": conversation.fields,
            })
        }
    }
}
