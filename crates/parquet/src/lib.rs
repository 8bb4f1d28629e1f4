//! Whether a parquet file can be decoded in bounded memory, and how many rows at a time.
//!
//! Knows footers and page headers; knows no row, and nothing of what the columns mean. The parquet
//! library allocates what the bytes of a file say, so those who read other people's files ask here
//! before it decodes anything.
#![doc = include_str!("../README.md")]

mod footer;
mod packed_lengths;
mod pages;
mod thrift;

pub use footer::{FooterFault, check_footer};
pub use pages::{LARGEST_PAGES, MOST_LIST_ITEMS, PageFault, rows_at_a_time};
