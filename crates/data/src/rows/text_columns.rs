//! Columns of a record batch as text, in whatever Arrow type they are stored. Knows types; knows no
//! question and no file.

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, LargeStringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

/// A column of text, converted to one Arrow type.
pub(crate) struct TextColumn(LargeStringArray);

/// A column of lists of text, converted to one Arrow type.
pub(crate) struct TextListColumn(LargeListArray);

/// Whether a type is text: UTF-8 with offsets of 32 or 64 bits or in views, or a dictionary of it.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string(),
    }
}

/// Whether values of a type have one obvious form as text: text, numbers and booleans.
pub(crate) fn is_printable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_printable(values),
        other => {
            is_text(other)
                || other.is_integer()
                || other.is_floating()
                || *other == DataType::Boolean
        }
    }
}

/// Whether a type is any kind of list of text.
pub(crate) fn is_text_list(data_type: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
    match data_type {
        List(item)
        | LargeList(item)
        | ListView(item)
        | LargeListView(item)
        | FixedSizeList(item, _) => is_text(item.data_type()),
        _ => false,
    }
}

impl TextColumn {
    /// Converts a column whose type [`is_printable`].
    pub(crate) fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(Self(
            cast(column, &DataType::LargeUtf8)?.as_string().clone(),
        ))
    }

    /// The text of a row, unless it is null.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }

    /// The text of every row, or `None` for null.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter()
    }
}

impl TextListColumn {
    /// Converts a column whose type [`is_text_list`].
    pub(crate) fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        let item = Field::new_list_field(DataType::LargeUtf8, true);
        Ok(Self(
            cast(column, &DataType::LargeList(item.into()))?
                .as_list()
                .clone(),
        ))
    }

    /// The list of a row, unless it is null.
    pub(crate) fn get(&self, row: usize) -> Option<TextColumn> {
        self.0
            .is_valid(row)
            .then(|| TextColumn(self.0.value(row).as_string().clone()))
    }
}
