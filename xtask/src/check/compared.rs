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

/// Two runs of the same work.
#[derive(Debug, Serialize)]
pub(super) struct SameBits {
    pub(super) what: String,
    /// Whether metrics, weights and moments have the same bits.
    pub(super) same: bool,
}

/// The greatest difference, and NaN where one is, so that no comparison passes by not being a
/// number.
pub(super) fn greatest(differences: impl Iterator<Item = f64>) -> f64 {
    differences.fold(0.0, |a, b| if a.is_nan() || a > b { a } else { b })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_meets_no_bar() {
        for values in [[0.5, f64::NAN, 0.1], [f64::NAN, 0.5, 0.1]] {
            let compared = Compared {
                what: String::new(),
                greatest_difference: greatest(values.into_iter()),
                bar: 1.0,
            };
            assert!(!compared.is_met());
        }
        assert_eq!(greatest([0.5, 2.0, 1.0].into_iter()), 2.0);
    }
}
