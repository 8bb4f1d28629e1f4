//! Columns of a record batch as text, whatever Arrow type they are stored in. Knows types; knows no question and no file.

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, LargeStringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

/// A column of text: every type of text is read as one, so that the rest knows only this.
pub(crate) struct TextColumn(LargeStringArray);

/// A column of lists of text.
pub(crate) struct TextListColumn(LargeListArray);

/// Whether it is text: UTF-8 with offsets of 32 or 64 bits or in views, or a dictionary of such.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string(),
    }
}

/// Whether it can be printed as text in one obvious way: text, numbers and booleans.
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

/// Whether it is a list of text, of any kind of list.
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
    /// Of a column that [`is_printable`].
    pub(crate) fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(Self(
            cast(column, &DataType::LargeUtf8)?.as_string().clone(),
        ))
    }

    /// The text of a row, unless it is null.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

impl TextListColumn {
    /// Of a column that [`is_text_list`].
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

impl TextColumn {
    /// Every row's text, null or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter()
    }
}
