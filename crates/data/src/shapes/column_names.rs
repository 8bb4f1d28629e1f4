//! Which of a file's columns stand for which of ours, as a setting.

use std::collections::BTreeMap;
use std::str::FromStr;

use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rows::Columns;

/// The columns of a file by our names: `question = "query"`, `options = ["A", "B", "C"]`, or as one
/// text `question=query,options=A,options=B`. Columns that are not named keep the names that they
/// have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ColumnNames(pub BTreeMap<String, FileColumns>);

/// How names of columns are written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Table(BTreeMap<String, FileColumns>),
    Text(String),
}

/// A text that does not name columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a column: write OURS=THEIRS, as in question=query,answer=gold")]
pub struct ColumnNamesError(String);

impl TryFrom<Written> for ColumnNames {
    type Error = ColumnNamesError;

    fn try_from(written: Written) -> Result<Self, ColumnNamesError> {
        match written {
            Written::Table(names) => Ok(Self(names)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<ColumnNames> for Written {
    fn from(names: ColumnNames) -> Self {
        Self::Table(names.0)
    }
}

impl FromStr for ColumnNames {
    type Err = ColumnNamesError;

    fn from_str(text: &str) -> Result<Self, ColumnNamesError> {
        let mut names = BTreeMap::<String, FileColumns>::new();
        for pair in text.split(',') {
            let (ours, theirs) = pair.split_once('=').unwrap_or_default();
            let (ours, theirs) = (ours.trim(), theirs.trim().to_owned());
            if ours.is_empty() || theirs.is_empty() {
                return Err(ColumnNamesError(pair.to_owned()));
            }
            let columns = match names.remove(ours) {
                None => FileColumns::One(theirs),
                Some(before) => {
                    let mut all = before.names().to_vec();
                    all.push(theirs);
                    FileColumns::Several(all)
                }
            };
            names.insert(ours.to_owned(), columns);
        }
        Ok(Self(names))
    }
}

/// One column of a file, or several that make a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FileColumns {
    /// A column.
    One(String),
    /// Columns whose values make a list.
    Several(Vec<String>),
}

impl FileColumns {
    /// The names in the file.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// A column that a setting names and the file lacks.
pub(crate) struct NoSuchColumn {
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

impl ColumnNames {
    /// The names in the file that one of ours stands for.
    pub(crate) fn in_file<'a>(&'a self, ours: &'a str) -> Vec<&'a str> {
        match self.0.get(ours) {
            Some(columns) => columns.names().iter().map(String::as_str).collect(),
            None => vec![ours],
        }
    }

    /// A file's schema with our names.
    pub(crate) fn renamed_schema(&self, schema: &Schema) -> Result<Schema, NoSuchColumn> {
        let mut fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        for (ours, columns) in &self.0 {
            for name in columns.names() {
                if schema.column_with_name(name).is_none() {
                    return Err(NoSuchColumn {
                        ours: ours.clone(),
                        theirs: name.clone(),
                    });
                }
            }
            let field = match columns {
                FileColumns::One(name) => {
                    let (_, field) = schema.column_with_name(name).expect("it was just found");
                    field.clone().with_name(ours)
                }
                FileColumns::Several(_) => {
                    let item = Field::new_list_field(DataType::Utf8, true);
                    Field::new_list(ours, item, true)
                }
            };
            fields.retain(|known| known.name() != ours);
            fields.push(field);
        }
        Ok(Schema::new(fields))
    }

    /// A row with our names. The file's own stay beside them, and alone where a row of JSON lacks
    /// the columns that a setting names.
    pub(crate) fn rename(&self, columns: &mut Columns) {
        let renamed: Vec<(String, Value)> = self
            .0
            .iter()
            .filter(|(_, theirs)| theirs.names().iter().any(|name| columns.contains_key(name)))
            .map(|(ours, theirs)| {
                let value = |name: &String| columns.get(name).cloned().unwrap_or_default();
                let value = match theirs {
                    FileColumns::One(name) => value(name),
                    FileColumns::Several(names) => {
                        // Fewer options than columns leave the last ones blank.
                        let mut values: Vec<Value> = names.iter().map(value).collect();
                        while values.last().is_some_and(is_blank) {
                            values.pop();
                        }
                        values.into()
                    }
                };
                (ours.clone(), value)
            })
            .collect();
        columns.extend(renamed);
    }
}

/// Whether a value is null or a text without a letter in it.
pub(crate) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_a_table_or_as_text() {
        let table = serde_json::json!({"question": "query", "options": ["A", "B"]});
        let from_table: ColumnNames = serde_json::from_value(table.clone()).expect("a table");
        let text = "question=query, options=A,options=B";
        let from_text: ColumnNames = serde_json::from_value(text.into()).expect("a text");
        assert_eq!(from_table, from_text);
        assert_eq!(serde_json::to_value(&from_text).expect("JSON"), table);
        for text in [
            "",
            "question",
            "question=",
            "=query",
            "question=a,,answer=b",
        ] {
            assert!(text.parse::<ColumnNames>().is_err(), "{text}");
        }
    }
}
