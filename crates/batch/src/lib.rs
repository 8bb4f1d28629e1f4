//! What a forward pass is given. Knows tokens, roles and layouts; knows no tensor library, no
//! weight, no file.
//!
//! A [`Sequence`] is one tokenized example. A [`Layout`] turns the sequences of a forward pass into
//! a [`Batch`]: tokens, RoPE positions, the attention mask as one integer per token, and the
//! [`Target`]s that may enter the loss.
#![doc = include_str!("../README.md")]

mod batch;
mod division;
mod examples;
mod layout;
mod packing;
mod prefix_tree;
mod role;
mod segment;
mod sequence;
mod sequences;
mod side_by_side;

pub use batch::{Batch, Target};
pub use division::{divide, undivided};
pub use examples::{DroppedExample, ExampleKey, Examples, option_letter};
pub use layout::{Layout, micro_batches};
pub use packing::{Pack, PackingStatistics, Unit, shortest_pack_first};
pub use prefix_tree::share_prefixes;
pub use role::Role;
pub use segment::Segment;
pub use sequence::{Answer, RoleTargets, Sequence, SequenceInfo};
pub use sequences::Sequences;
pub use side_by_side::concatenate;
