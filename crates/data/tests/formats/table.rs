//! Rows of JSON as the tables that other programs write of them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, RecordBatch,
    StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

/// Rows as a table; what a row lacks is null.
pub(crate) fn table(rows: &[Value]) -> RecordBatch {
    let fields = fields_of(rows);
    RecordBatch::try_from_iter(fields).expect("columns of one length")
}

fn fields_of(rows: &[Value]) -> Vec<(String, ArrayRef)> {
    let mut names: Vec<&String> = Vec::new();
    for name in rows
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|row| row.keys())
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let column = |name: &String| {
        let values: Vec<Value> = rows.iter().map(|row| row[name.as_str()].clone()).collect();
        (name.clone(), array(&values))
    };
    names.into_iter().map(column).collect()
}

fn array(values: &[Value]) -> ArrayRef {
    let nulls = || NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
    match values.iter().find(|value| !value.is_null()) {
        None => Arc::new(NullArray::new(values.len())),
        Some(Value::String(_)) => {
            Arc::new(values.iter().map(Value::as_str).collect::<StringArray>())
        }
        Some(Value::Bool(_)) => {
            Arc::new(values.iter().map(Value::as_bool).collect::<BooleanArray>())
        }
        Some(Value::Number(number)) if number.is_f64() => {
            Arc::new(values.iter().map(Value::as_f64).collect::<Float64Array>())
        }
        Some(Value::Number(_)) => {
            Arc::new(values.iter().map(Value::as_i64).collect::<Int64Array>())
        }
        Some(Value::Array(_)) => {
            let lists = values
                .iter()
                .map(|value| value.as_array().map_or(&[][..], |list| list));
            let lengths = OffsetBuffer::from_lengths(lists.clone().map(<[Value]>::len));
            let items = array(&lists.flatten().cloned().collect::<Vec<_>>());
            let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
            Arc::new(ListArray::new(item, lengths, items, Some(nulls())))
        }
        Some(Value::Object(_)) => {
            let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = fields_of(values)
                .into_iter()
                .map(|(name, column)| (Field::new(name, column.data_type().clone(), true), column))
                .unzip();
            let fields = Fields::from(fields);
            Arc::new(StructArray::new(fields, columns, Some(nulls())))
        }
        Some(Value::Null) => unreachable!("it is not null"),
    }
}

pub(crate) fn parquet(table: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, table.schema(), None).expect("a writer");
    writer.write(table).expect("rows");
    writer.close().expect("a footer");
    bytes
}

/// An Arrow file of several batches.
pub(crate) fn arrow_file(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batches[0].schema()).expect("a writer");
    batches
        .iter()
        .for_each(|batch| writer.write(batch).expect("rows"));
    writer.finish().expect("a footer");
    writer.into_inner().expect("it is finished")
}

/// The same as a stream.
pub(crate) fn arrow_stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("a writer");
    batches
        .iter()
        .for_each(|batch| writer.write(batch).expect("rows"));
    writer.finish().expect("an end");
    writer.into_inner().expect("it is finished")
}

/// Rows as separated values, all of them quoted where they need it.
pub(crate) fn separated(rows: &[Value], delimiter: u8, line_end: csv::Terminator) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .terminator(line_end)
        .from_writer(Vec::new());
    let names: Vec<&String> = rows[0].as_object().expect("an object").keys().collect();
    writer.write_record(&names).expect("memory");
    for row in rows {
        let fields = names.iter().map(|name| match &row[name.as_str()] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        writer.write_record(fields).expect("memory");
    }
    writer.into_inner().expect("memory")
}

/// Whether a type holds a list of structs, as conversations do.
pub(crate) fn is_list_of_structs(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(item) if matches!(item.data_type(), DataType::Struct(_)))
}
