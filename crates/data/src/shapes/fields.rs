//! The values of a row as what its shape needs, or why the row is bad.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::column_names::is_blank;
use crate::rows::{Columns, Problem, Refusal};

/// A value that is there and not null.
pub(crate) fn required<'a>(columns: &'a Columns, name: &str) -> Result<&'a Value, Refusal> {
    match columns.get(name) {
        Some(Value::Null) => Err(Refusal::new(name, Problem::Null)),
        Some(value) => Ok(value),
        None => Err(Refusal::new(name, Problem::Missing)),
    }
}

/// A value that is there and not null, unless it need not be.
pub(crate) fn optional<'a>(columns: &'a Columns, name: &str) -> Option<&'a Value> {
    columns.get(name).filter(|value| !value.is_null())
}

/// A text, blank or not.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    value
        .as_str()
        .ok_or_else(|| wrong_type(name, value, "text"))
}

/// A text that is more than white space.
pub(crate) fn required_text(columns: &Columns, name: &str) -> Result<String, Refusal> {
    let text = text(required(columns, name)?, name)?;
    match text.trim().is_empty() {
        true => Err(Refusal::new(name, Problem::Empty)),
        false => Ok(text.to_owned()),
    }
}

/// A text that is more than white space, if there is one.
pub(crate) fn optional_text<'a>(
    columns: &'a Columns,
    name: &str,
) -> Result<Option<&'a str>, Refusal> {
    match columns.get(name).filter(|value| !is_blank(value)) {
        Some(value) => text(value, name).map(Some),
        None => Ok(None),
    }
}

/// A list.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, Refusal> {
    value
        .as_array()
        .ok_or_else(|| wrong_type(name, value, "a list"))
}

/// An object with fields of its own.
pub(crate) fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Map<String, Value>, Refusal> {
    value
        .as_object()
        .ok_or_else(|| wrong_type(name, value, "an object"))
}

pub(crate) fn wrong_type(name: &str, value: &Value, expected: &str) -> Refusal {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal {
        found: format!(" (it is {found}, and should be {expected})"),
        ..Refusal::new(name, Problem::WrongType)
    }
}

/// Text, a number or a boolean as text.
pub(crate) fn printed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The columns that can be printed, but for these, by name.
pub(crate) fn printed_columns(columns: &Columns, but: &[&str]) -> BTreeMap<String, String> {
    let others = columns
        .iter()
        .filter(|(name, _)| !but.contains(&name.as_str()));
    others
        .filter_map(|(name, value)| Some((name.clone(), printed(value)?)))
        .collect()
}
