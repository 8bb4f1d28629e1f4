//! Values of Arrow columns as JSON values. Knows types; knows no row's meaning. Text may have been
//! decoded as bytes, which need not be UTF-8.

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use serde_json::{Map, Number, Value};

/// Bytes that are not UTF-8, from this one on.
pub(crate) struct NotUtf8(pub(crate) usize);

/// A column whose values can be read row by row.
pub(crate) enum ValueColumn {
    Null,
    Text(BinaryViewArray),
    Bool(arrow::array::BooleanArray),
    Signed(arrow::array::Int64Array),
    Unsigned(arrow::array::UInt64Array),
    /// In the shortest form that tells the value from its neighbors in its own type.
    Float(arrow::array::LargeStringArray),
    List {
        lists: arrow::array::LargeListArray,
        /// Those of these lists alone: they may be a part of a longer column.
        items: Box<ValueColumn>,
    },
    Struct {
        rows: arrow::array::StructArray,
        fields: Vec<(String, ValueColumn)>,
    },
}

/// Whether values of a type can be read: text, numbers, booleans, and lists and structs of them.
pub(crate) fn is_readable(data_type: &DataType) -> bool {
    match (item_type(data_type), data_type) {
        (Some(item), _) => is_readable(item),
        (None, DataType::Struct(fields)) => {
            fields.iter().all(|field| is_readable(field.data_type()))
        }
        (None, DataType::Null) => true,
        (None, other) => is_printable(other),
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

/// Whether a type is text: UTF-8 with offsets of 32 or 64 bits or in views, or a dictionary of it.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string(),
    }
}

/// The field of the items, if a type is any kind of list.
pub(crate) fn item_field(data_type: &DataType) -> Option<&FieldRef> {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
    match data_type {
        List(item)
        | LargeList(item)
        | ListView(item)
        | LargeListView(item)
        | FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// The type of the items, if a type is any kind of list.
pub(crate) fn item_type(data_type: &DataType) -> Option<&DataType> {
    item_field(data_type).map(|item| item.data_type())
}

impl ValueColumn {
    /// A column whose type [`is_readable`], or of text that was decoded as bytes.
    pub(crate) fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        let to = |data_type: DataType| cast(column, &data_type);
        let kind = match column.data_type() {
            DataType::Dictionary(_, values) => values.as_ref(),
            kind => kind,
        };
        Ok(match kind {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(to(DataType::Boolean)?.as_boolean().clone()),
            DataType::UInt64 => Self::Unsigned(to(DataType::UInt64)?.as_primitive().clone()),
            kind if kind.is_integer() => Self::Signed(to(DataType::Int64)?.as_primitive().clone()),
            kind if kind.is_floating() => Self::Float(to(DataType::LargeUtf8)?.as_string().clone()),
            DataType::Struct(_) => {
                let rows = column.as_struct();
                let fields = rows.fields().iter().zip(rows.columns());
                let fields =
                    fields.map(|(field, column)| Ok((field.name().clone(), Self::new(column)?)));
                Self::Struct {
                    fields: fields.collect::<Result<_, ArrowError>>()?,
                    rows: rows.clone(),
                }
            }
            kind => match item_field(kind) {
                Some(item) => {
                    let lists = to(DataType::LargeList(item.clone()))?
                        .as_list::<i64>()
                        .clone();
                    let offsets = lists.value_offsets();
                    let (start, end) = (offsets[0] as usize, offsets[lists.len()] as usize);
                    let items = Box::new(Self::new(&lists.values().slice(start, end - start))?);
                    Self::List { lists, items }
                }
                None => Self::Text(to(DataType::BinaryView)?.as_binary_view().clone()),
            },
        })
    }

    /// The value of a row.
    pub(crate) fn get(&self, row: usize) -> Result<Value, NotUtf8> {
        Ok(match self {
            Self::Text(bytes) if bytes.is_valid(row) => {
                let text = std::str::from_utf8(bytes.value(row));
                Value::from(text.map_err(|error| NotUtf8(error.valid_up_to()))?)
            }
            Self::Bool(values) if values.is_valid(row) => Value::from(values.value(row)),
            Self::Signed(values) if values.is_valid(row) => Value::from(values.value(row)),
            Self::Unsigned(values) if values.is_valid(row) => Value::from(values.value(row)),
            Self::Float(values) if values.is_valid(row) => {
                let number = values.value(row).parse().ok().and_then(Number::from_f64);
                // JSON has no number that is not finite.
                number.map_or_else(|| Value::from(values.value(row)), Value::from)
            }
            Self::List { lists, items } if lists.is_valid(row) => {
                let offsets = lists.value_offsets();
                let item = |offset: i64| (offset - offsets[0]) as usize;
                let range = item(offsets[row])..item(offsets[row + 1]);
                range
                    .map(|item| items.get(item))
                    .collect::<Result<Vec<Value>, _>>()?
                    .into()
            }
            Self::Struct { rows, fields } if rows.is_valid(row) => {
                let fields = fields
                    .iter()
                    .map(|(name, column)| Ok((name.clone(), column.get(row)?)));
                Value::Object(fields.collect::<Result<Map<_, _>, _>>()?)
            }
            _ => Value::Null,
        })
    }
}
