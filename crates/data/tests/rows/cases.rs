//! Writes and reads the files of these tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use plw_data::{
    ColumnOptions, Example, OnBadRow, Question, ReadOptions, RowError, Source, Split, read_examples,
};

/// A row as a test writes it: `None` is null.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) example_id: Option<&'static str>,
    pub(crate) article: Option<&'static str>,
    pub(crate) answer: Option<&'static str>,
    pub(crate) question: Option<&'static str>,
    pub(crate) options: Option<Vec<Option<&'static str>>>,
}

pub(crate) fn good() -> Row {
    Row {
        example_id: Some("middle1.txt"),
        article: Some("Ann saw a cat."),
        answer: Some("B"),
        question: Some("What did Ann see?"),
        options: Some(vec![Some("A dog"), Some("A cat"), Some("\u{2014}")]),
    }
}

pub(crate) type Columns = Vec<(&'static str, ArrayRef)>;

pub(crate) fn columns(rows: &[Row]) -> Columns {
    let text = |value: fn(&Row) -> Option<&'static str>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    };
    let mut options = ListBuilder::new(StringBuilder::new());
    rows.iter()
        .for_each(|row| options.append_option(row.options.clone()));
    let options: ListArray = options.finish();
    vec![
        ("example_id", text(|row| row.example_id)),
        ("article", text(|row| row.article)),
        ("answer", text(|row| row.answer)),
        ("question", text(|row| row.question)),
        ("options", Arc::new(options)),
    ]
}

/// The columns with every text in the type `text` and the options in the type that `list` makes of
/// it.
pub(crate) fn stored_as(
    rows: &[Row],
    text: &DataType,
    list: fn(Arc<Field>) -> DataType,
) -> Columns {
    let item = Arc::new(Field::new_list_field(text.clone(), true));
    let convert = |(name, column): (&'static str, ArrayRef)| {
        let to = if name == "options" {
            list(item.clone())
        } else {
            text.clone()
        };
        (
            name,
            cast(&column, &to).expect("a cast between types of text"),
        )
    };
    columns(rows).into_iter().map(convert).collect()
}

pub(crate) fn write(path: &Path, columns: Columns) {
    write_with(path, columns, WriterProperties::default());
}

pub(crate) fn write_with(path: &Path, columns: Columns, properties: WriterProperties) {
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
}

pub(crate) fn read(
    path: impl Into<PathBuf>,
    options: &ReadOptions,
) -> Result<Vec<Question>, RowError> {
    let source = Source::Path(path.into());
    let examples = read_examples(&source, Split::Train, &ColumnOptions::default(), options)?;
    let question = |example: Example| example.question().expect("the rows are questions");
    examples.map(|example| example.map(question)).collect()
}

pub(crate) fn skipping() -> ReadOptions {
    ReadOptions {
        on_bad_row: OnBadRow::Skip,
        ..ReadOptions::default()
    }
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}
