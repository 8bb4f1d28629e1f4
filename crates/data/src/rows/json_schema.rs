//! The schema that a row of JSON would have as a table, so that its columns are recognized and
//! named as those of a table are.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde_json::Value;

use super::row::Columns;

/// The schema of a row.
pub(crate) fn schema_of(row: &Columns) -> Schema {
    let fields = row
        .iter()
        .map(|(name, value)| Field::new(name, type_of(value), true));
    Schema::new(fields.collect::<Vec<_>>())
}

/// The type of a value; of a list that of its first item.
fn type_of(value: &Value) -> DataType {
    match value {
        Value::Null => DataType::Null,
        Value::Bool(_) => DataType::Boolean,
        Value::Number(number) if number.is_f64() => DataType::Float64,
        Value::Number(_) => DataType::Int64,
        Value::String(_) => DataType::Utf8,
        Value::Array(items) => {
            let item = items.first().map_or(DataType::Null, type_of);
            DataType::List(Arc::new(Field::new_list_field(item, true)))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| Field::new(name, type_of(value), true));
            DataType::Struct(fields.collect())
        }
    }
}
