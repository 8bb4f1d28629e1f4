//! The columns of a file, looked up by name and checked by type.

use arrow::datatypes::{DataType, Schema};

use super::error::RowError;
use crate::files::DataFile;

/// The columns of a file in words, with their types.
pub(crate) fn in_words(schema: &Schema) -> String {
    let fields = schema.fields().iter();
    let columns: Vec<String> = fields
        .map(|field| format!("`{}` ({})", field.name(), field.data_type()))
        .collect();
    match columns.is_empty() {
        true => "none".to_owned(),
        false => columns.join(", "),
    }
}

/// The index of a required column, if its type is right.
pub(crate) fn column_of(
    file: &DataFile,
    schema: &Schema,
    column: &str,
    is_right: impl Fn(&DataType) -> bool,
    expected: &'static str,
) -> Result<usize, RowError> {
    let Some((index, field)) = schema.column_with_name(column) else {
        return Err(RowError::MissingColumn {
            file: file.name.clone(),
            column: column.to_owned(),
            ours: column.to_owned(),
            reason: String::new(),
            found: in_words(schema),
        });
    };
    // A row of JSON may be null where others hold a value.
    if !is_right(field.data_type()) && *field.data_type() != DataType::Null {
        return Err(RowError::ColumnType {
            file: file.name.clone(),
            column: column.to_owned(),
            found: field.data_type().clone(),
            expected,
        });
    }
    Ok(index)
}
