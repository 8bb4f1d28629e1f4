//! Columns of a record batch as text, in whatever Arrow type they are stored. Knows types; knows no
//! question and no file. Text was decoded as bytes, which need not be UTF-8.

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, LargeStringArray, ListArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// A column of text, or of values that are printed as text.
pub(crate) enum TextColumn {
    Text(BinaryViewArray),
    Printed(LargeStringArray),
}

/// A column of lists of text.
pub(crate) struct TextListColumn(ListArray);

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
    /// A column of bytes, or one whose type [`is_printable`].
    pub(crate) fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        if let Some(bytes) = column.as_binary_view_opt() {
            return Ok(Self::Text(bytes.clone()));
        }
        let printed = cast(column, &DataType::LargeUtf8)?;
        Ok(Self::Printed(printed.as_string().clone()))
    }

    /// The text of a row as bytes, unless it is null.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Text(bytes) => bytes.is_valid(row).then(|| bytes.value(row)),
            Self::Printed(text) => text.is_valid(row).then(|| text.value(row).as_bytes()),
        }
    }

    /// The length of a row's text in bytes; 0 if it is null.
    pub(crate) fn length(&self, row: usize) -> usize {
        self.get(row).map_or(0, <[u8]>::len)
    }
}

impl TextListColumn {
    /// A column of lists of bytes.
    pub(crate) fn new(column: &ArrayRef) -> Self {
        Self(column.as_list().clone())
    }

    /// The list of a row, unless it is null.
    pub(crate) fn get(&self, row: usize) -> Option<BinaryViewArray> {
        self.0
            .is_valid(row)
            .then(|| self.0.value(row).as_binary_view().clone())
    }

    /// The length of all texts of a row in bytes.
    pub(crate) fn length(&self, row: usize) -> usize {
        let list = self.get(row);
        list.map_or(0, |list| list.iter().flatten().map(<[u8]>::len).sum())
    }
}
