//! The examples of a source, as training and evaluation use them, and statistics of them.

mod examples;
mod generation_ratio;
mod load;
mod statistics;

pub use examples::{ExamplesError, encode_examples, encode_texts};
pub use generation_ratio::GenerationRatio;
pub use load::{Dataset, LoadError, load_examples, load_texts};
pub use statistics::{DatasetStatistics, LevelStatistics};
