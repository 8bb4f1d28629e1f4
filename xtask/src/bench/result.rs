//! `results/bench.json`: what was measured, and what it comes to.

use serde::Serialize;

use super::figures::Figure;
use super::operations::UsefulOperations;
use super::record::Record;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Bench {
    pub(super) rounds: usize,
    /// Of the timed rows of `full-batch-4`.
    pub(super) useful_operations: Option<UsefulOperations>,
    pub(super) figures: Vec<Figure>,
    #[serde(flatten)]
    pub(super) record: Record,
}
