//! What a forward pass is given. Knows tokens, roles and layouts; knows no tensor library, no weight, no file.
//!
//! A [`Sequence`] is one tokenised example. A layout ([`pad`], [`concatenate`], [`lay_out_packs`], [`share_prefixes`]) turns the sequences
//! of a step into a [`Batch`]: tokens, RoPE positions, the attention mask as one integer a token, and the [`Target`]s
//! that the loss is asked for.
#![doc = include_str!("../README.md")]

mod batch;
mod layout;
mod packing;
mod prefix_tree;
mod sequence;

pub use batch::{Batch, Role, Target};
pub use layout::{CrossDocumentAttention, concatenate, lay_out_packs, pack, pad};
pub use packing::{Pack, PackingStatistics, Unit, shortest_pack_first};
pub use prefix_tree::share_prefixes;
pub use sequence::{Answer, Sequence, SequenceInfo};
