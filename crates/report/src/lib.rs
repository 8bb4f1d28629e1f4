//! Records of runs become statistics, tables, figures and one HTML page.
//!
//! Knows what plw-record reads and nothing of how it came about: any trainer's runs will do whose folders look so.
//! [`read_sweep`] reads, [`analyse`] computes, [`figures`] draws, and [`write_report`] does it all.
#![doc = include_str!("../README.md")]

mod analysis;
mod articles;
mod comparison;
mod error;
mod figures;
mod findings;
mod format;
mod page;
pub mod statistics;
mod sweep;
mod tables;
mod warnings;
mod write;

pub use analysis::{AnalysisOptions, Estimate, GroupStatistics, Report, Section, analyse};
pub use comparison::Comparison;
pub use error::ReportError;
pub use figures::{Figure, figures};
pub use page::page;
pub use sweep::{IncompleteRun, Run, Sweep, read_sweep};
pub use tables::{Table, markdown, text};
pub use write::write_report;
