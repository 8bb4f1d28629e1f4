//! The columns of a file, looked up by name and checked by type.

use arrow::datatypes::{DataType, Schema};

use super::error::RowError;
use crate::files::DataFile;

/// The index of a required column, if its type is right.
pub(crate) fn column_of(
    file: &DataFile,
    schema: &Schema,
    column: &str,
    is_right: fn(&DataType) -> bool,
    expected: &'static str,
) -> Result<usize, RowError> {
    let Some((index, field)) = schema.column_with_name(column) else {
        let found: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| format!("`{}` ({})", field.name(), field.data_type()))
            .collect();
        let found = if found.is_empty() {
            "none".to_owned()
        } else {
            found.join(", ")
        };
        return Err(RowError::MissingColumn {
            file: file.name.clone(),
            column: column.to_owned(),
            found,
        });
    };
    if !is_right(field.data_type()) {
        let (file, column, found) = (
            file.name.clone(),
            column.to_owned(),
            field.data_type().clone(),
        );
        return Err(RowError::ColumnType {
            file,
            column,
            found,
            expected,
        });
    }
    Ok(index)
}
