//! What examples are made of.

use super::token_cache::TokenCache;
use crate::encode::PromptEncoder;
use crate::files::DataFile;
use crate::rows::ReadOptions;
use crate::shapes::ColumnOptions;

/// What examples are made of: files, and how to read and encode their rows.
#[derive(Clone, Copy)]
pub struct DataSource<'a> {
    /// The files, in order.
    pub files: &'a [DataFile],
    /// What their columns are.
    pub columns: &'a ColumnOptions,
    /// How to read them.
    pub options: &'a ReadOptions,
    /// Makes tokens of their rows.
    pub encoder: &'a PromptEncoder,
    /// Where tokens are kept for the next time, if anywhere.
    pub cache: Option<&'a TokenCache>,
    /// Called for each row.
    pub progress: &'a (dyn Fn() + Sync),
}
