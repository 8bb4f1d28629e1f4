//! Which row an example is from.

use std::sync::Arc;

use super::fields::{optional, printed, wrong_type};
use crate::files::without_endings;
use crate::rows::{Problem, Refusal, Row};

/// The columns that may hold a data set's own id, the first that is there.
const IDS: [&str; 2] = ["example_id", "id"];

/// Which row an example is from, and what it is called there.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) file: Arc<str>,
    pub(crate) row: u64,
    pub(crate) example_id: String,
    pub(crate) level: String,
}

impl Identity {
    /// Of a row. Without an id of its own it is called by its file and number.
    pub(crate) fn of(row: &Row) -> Result<Self, Refusal> {
        let id = IDS.into_iter().find_map(|name| match name {
            // An empty id is an error in RACE's column alone.
            "example_id" => row.columns.get(name).map(|value| (name, value)),
            _ => optional(&row.columns, name).map(|value| (name, value)),
        });
        let (example_id, level) = match id {
            Some((name, value)) => {
                let id = match printed(value) {
                    Some(id) => id,
                    None if value.is_null() => return Err(Refusal::new(name, Problem::Null)),
                    None => return Err(wrong_type(name, value, "text")),
                };
                if id.trim().is_empty() {
                    return Err(Refusal::new(name, Problem::Empty));
                }
                let level = level_of(&id).unwrap_or(&row.folder).to_owned();
                (id, level)
            }
            None => {
                let id = format!("{}-{}", stem(&row.file), row.number);
                (id, row.folder.to_string())
            }
        };
        Ok(Self {
            file: row.file.clone(),
            row: row.number,
            example_id,
            level,
        })
    }
}

/// The level that an id such as `high1234.txt` names.
fn level_of(example_id: &str) -> Option<&str> {
    let end = example_id
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(example_id.len());
    Some(&example_id[..end]).filter(|prefix| matches!(*prefix, "high" | "middle"))
}

/// The last part of a file's name, without its endings.
fn stem(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    // The name of a file on the hub may end with its revision.
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    without_endings(name).unwrap_or(name)
}
