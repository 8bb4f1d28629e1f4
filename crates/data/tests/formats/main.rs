//! Data files of every format, with rows of every shape: what is read of them, and what is refused.

mod bad_files;
mod bad_row_cases;
mod bad_rows;
mod cases;
mod conversations;
mod lines;
mod questions;
mod same_rows;
mod samples;
mod shapes;
mod sources;
mod table;
mod transformers;
