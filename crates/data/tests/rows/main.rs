//! Questions read from small parquet files that the tests write.

mod cases;
mod checks;
mod damaged;
mod fields;
mod files;
mod written;
