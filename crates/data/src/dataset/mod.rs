//! The examples of a source, as training and evaluation use them, and statistics of them.

mod data_source;
mod encode_files;
mod encode_rows;
mod encoded_row;
mod examples;
mod generation_ratio;
mod lengths;
mod load;
mod reading;
mod sample;
mod statistics;
mod token_cache;
mod token_file;

pub use data_source::DataSource;
pub use encode_rows::ExamplesError;
pub use examples::{encode_examples, encode_texts};
pub use generation_ratio::GenerationRatio;
pub use lengths::measure_lengths;
pub use load::{Dataset, load_examples};
pub use reading::Reading;
pub use sample::Sample;
pub use statistics::{DatasetStatistics, LevelStatistics};
pub use token_cache::TokenCache;
