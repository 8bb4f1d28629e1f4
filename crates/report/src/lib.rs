//! Records of runs become statistics, tables, figures and one HTML page.
//!
//! Knows the records that plw-record reads, and nothing of the trainer that wrote them. Generation
//! ratios, which need no run, have a page of their own ([`write_ratios`]).
//! [`read_sweep`] reads, [`analyze`] computes, [`figures`] draws, and [`write_report`] does it all.
#![doc = include_str!("../README.md")]

mod analysis;
mod comparison;
mod contradiction;
mod error;
mod figures;
mod findings;
mod format;
mod html;
mod metric;
mod page;
mod passages;
mod printable;
mod ratios;
mod replaceable;
mod report;
pub mod statistics;
mod sweep;
mod table;
mod tables;
mod warnings;
mod write;

pub use analysis::analyze;
pub use error::ReportError;
pub use figures::{Figure, figures, ratio_figures};
pub use metric::Metric;
pub use page::page;
pub use printable::printable;
pub use ratios::{
    NamedRatios, RatioReport, ratio_csv, ratio_json, ratio_markdown, ratio_page, ratio_text,
    write_ratios,
};
pub use report::{
    AnalysisOptions, AnswerScores, Comparison, CompletionScores, Estimate, GroupStatistics, Report,
    Scores, Section,
};
pub use sweep::{IncompleteRun, Run, Sweep, read_sweep};
pub use table::Table;
pub use tables::{markdown, text};
pub use write::write_report;
