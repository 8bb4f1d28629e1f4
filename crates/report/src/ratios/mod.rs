//! Generation ratios of data sets, as text, tables, one page and figures. Computed by plw-ratio.

pub(crate) mod csv;
pub(crate) mod json;
mod notes;
mod page;
mod report;
pub(crate) mod tables;
mod write;

pub use csv::ratio_csv;
pub use json::ratio_json;
pub use page::ratio_page;
pub use report::{NamedRatios, RatioReport};
pub use tables::{ratio_markdown, ratio_text};
pub use write::write_ratios;
