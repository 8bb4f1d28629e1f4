//! Reading comprehension that needs no data set: passages, questions and pretraining text, made from a seed.
//!
//! A passage tells a handful of facts: who did what, how many, where, when, why. Facts are drawn first and told
//! second, so that what a question's right answer is, and which wrong options stand in the passage, is known without
//! reading the text. The hash of a passage's text tells which split it belongs to ([`Share`]), so that no passage can
//! stand in two of them, whatever the seeds.

mod config;
mod fact;
mod generate;
mod passage;
mod pretraining;
mod question;
mod quiz;
#[cfg(test)]
mod tests;
mod tokenizer;
mod vocabulary;

pub use config::{
    Exercises, Level, LevelConfig, PretrainingStage, SyntheticConfig, SyntheticError,
};
pub use generate::{generate, write_synthetic};
pub use passage::Share;
pub use pretraining::pretraining_text;
pub use tokenizer::{TrainTokenizerError, train_tokenizer, write_tokenizer};
