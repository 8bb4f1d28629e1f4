//! The schema that files are read with: text as bytes. The parquet library checks the text of whole
//! pages and names no row where it is not UTF-8; bytes are checked row by row. Views of bytes also
//! point into the pages, so that a value that a dictionary repeats is in memory once.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::arrow_values::{is_readable, is_text, item_field, item_type};

/// The metadata of a file, changed so that the text of these columns is read as bytes.
pub(crate) fn text_as_bytes(
    metadata: &ArrowReaderMetadata,
    columns: &[usize],
) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema = metadata.schema();
    let root = metadata.parquet_schema().root_schema();
    let columns_and_types = schema.fields().iter().zip(root.get_fields()).enumerate();
    let changed: Result<Vec<(FieldRef, TypePtr)>, ParquetError> = columns_and_types
        .map(|(index, (field, column))| {
            let kind = field.data_type();
            match columns.contains(&index) && is_readable(kind) && holds_text(kind) {
                true => Ok((with_bytes(field), without_annotations(column)?)),
                false => Ok((field.clone(), column.clone())),
            }
        })
        .collect();
    let (fields, types): (Vec<FieldRef>, Vec<TypePtr>) = changed?.into_iter().unzip();
    let root = Type::group_type_builder(root.name()).with_fields(types);
    let before = metadata.metadata().file_metadata();
    let file = FileMetaData::new(
        before.version(),
        // The library reads no row where this says so, whatever the row groups hold.
        i64::MAX,
        None,
        None,
        Arc::new(SchemaDescriptor::new(Arc::new(root.build()?))),
        None,
    );
    let groups = metadata.metadata().row_groups().to_vec();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    ArrowReaderMetadata::try_new(
        Arc::new(ParquetMetaData::new(file, groups)),
        ArrowReaderOptions::new().with_schema(Arc::new(schema)),
    )
}

/// Whether a type is text, or a list or a struct with text in it.
fn holds_text(data_type: &DataType) -> bool {
    match (item_type(data_type), data_type) {
        (Some(item), _) => holds_text(item),
        (None, DataType::Struct(fields)) => {
            fields.iter().any(|field| holds_text(field.data_type()))
        }
        (None, other) => is_text(other),
    }
}

/// A field with bytes in place of text. Any kind of list becomes a plain one.
fn with_bytes(field: &FieldRef) -> FieldRef {
    let data_type = match (item_field(field.data_type()), field.data_type()) {
        (Some(item), _) => DataType::List(with_bytes(item)),
        (None, DataType::Struct(fields)) => {
            DataType::Struct(fields.iter().map(with_bytes).collect())
        }
        (None, text) if is_text(text) => DataType::BinaryView,
        (None, other) => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// A column whose bytes are not said to be text.
fn without_annotations(column: &TypePtr) -> Result<TypePtr, ParquetError> {
    let info = column.get_basic_info();
    let column = match column.as_ref() {
        Type::PrimitiveType {
            physical_type: PhysicalType::BYTE_ARRAY,
            ..
        } => Type::primitive_type_builder(info.name(), PhysicalType::BYTE_ARRAY)
            .with_repetition(info.repetition())
            .build()?,
        Type::PrimitiveType { .. } => return Ok(column.clone()),
        Type::GroupType { fields, .. } => {
            let fields: Result<Vec<TypePtr>, _> = fields.iter().map(without_annotations).collect();
            Type::group_type_builder(info.name())
                .with_repetition(info.repetition())
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_fields(fields?)
                .build()?
        }
    };
    Ok(Arc::new(column))
}
