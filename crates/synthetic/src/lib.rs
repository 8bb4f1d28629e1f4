//! Synthetic reading comprehension: passages, questions, conversations and pretraining text, made
//! from a seed.
//!
//! Knows words, facts and how to tell them; knows no prompt, no token id and no model. Facts are
//! drawn first and told second, so that the right answer of a question, and the wrong options that
//! occur in the passage, are known without reading the text. A hash of the passage decides its
//! split ([`Share`]), so that no passage occurs in two splits, whatever the seeds.
#![doc = include_str!("../README.md")]

mod config;
mod conversation;
mod error;
mod fact;
mod generate;
mod layout;
mod passage;
mod pretraining;
mod question;
mod quiz;
mod request;
mod stage;
#[cfg(test)]
mod tests;
mod tokenizer;
mod vocabulary;

pub use config::{ConversationConfig, Level, LevelConfig, SyntheticConfig};
pub use conversation::{Conversation, Turn, TurnRole, conversations, write_conversations};
pub use error::SyntheticError;
pub use generate::{generate, write_synthetic};
pub use passage::Share;
pub use pretraining::pretraining_text;
pub use stage::{Exercises, PretrainingStage};
pub use tokenizer::{TrainTokenizerError, train_tokenizer, write_tokenizer};
