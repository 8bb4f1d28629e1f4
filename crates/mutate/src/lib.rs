//! Changed copies of good files, for tests of those who read files of other people's making.
//!
//! Knows bytes and JSON; knows no format that the crates read. A reader that is given such copies
//! answers with a value or an error: it neither panics nor takes memory without bound.
#![doc = include_str!("../README.md")]

mod bytes;
mod cases;
mod json;
mod memory;

pub use bytes::{Edit, edited, edits};
pub use cases::try_all;
pub use json::{Mutation, mutated, mutations, toml_of};
pub use memory::with_little_memory;
