//! What a report of generation ratios holds.

use plw_ratio::{RatioAnalysis, Unit};
use serde::Serialize;

/// A data set's generation ratios.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedRatios {
    /// The data set's name: any text. Where it is shown, it is escaped.
    pub name: String,
    /// Its statistics, densities and advice.
    #[serde(flatten)]
    pub analysis: RatioAnalysis,
}

/// The generation ratios of one or several data sets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatioReport {
    /// What lengths are counted in.
    pub unit: Unit,
    /// The data sets, in the order in which they are shown.
    pub datasets: Vec<NamedRatios>,
}

impl NamedRatios {
    /// The name on one line, cut where it is longer than so many characters.
    pub(crate) fn short_name(&self, characters: usize) -> String {
        let name = one_line(&self.name);
        match name.chars().count() > characters {
            true => name.chars().take(characters - 1).chain(['…']).collect(),
            false => name,
        }
    }
}

/// Text with spaces instead of line ends and tabs.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}
