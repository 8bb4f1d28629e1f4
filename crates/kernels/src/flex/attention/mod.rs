//! Blocked attention on slices: tile by tile with an online softmax (Milakov and Gimelshein 2018,
//! arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135). Tiles that the mask hides are skipped, and
//! the backward pass computes the scores again.
//!
//! A token's row `qkv` holds queries, keys and values side by side, as one product with the three
//! weights leaves them: the heads of the query, then those of the key, then those of the value.

mod backward;
mod forward;
mod head;
#[cfg(test)]
pub(crate) mod random_mask;
mod shape;
mod tile;

pub(crate) use backward::{Attended, backward};
pub(crate) use forward::forward;
pub(crate) use shape::Shape;

#[cfg(test)]
mod tests;
