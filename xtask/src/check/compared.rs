//! The rows of a check that compares one way of computing with another.

use serde::Serialize;

use crate::text_table::markdown;

/// One comparison.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub(super) what: String,
    pub(super) greatest_difference: f64,
    pub(super) bar: f64,
}

impl Compared {
    /// A difference that is not a number meets no bar.
    pub(super) fn is_met(&self) -> bool {
        self.greatest_difference <= self.bar
    }
}

/// The comparisons as a table, under what they are `against`.
pub(super) fn table(against: &str, compared: &[Compared]) -> String {
    let rows: Vec<Vec<String>> = compared
        .iter()
        .map(|row| {
            vec![
                row.what.clone(),
                format!("{:.1e}", row.greatest_difference),
                format!("{:.0e}", row.bar),
                if row.is_met() { "yes" } else { "NO" }.to_string(),
            ]
        })
        .collect();
    let header = [against, "greatest difference", "bar", "met"];
    markdown(&header, 1, &rows)
}
