//! An example becomes token ids: which are completion, where the answer of a question is predicted,
//! and the token of each option.

mod conversation_text;
mod difference;
mod encoder;
mod error;
mod option_token_cache;
mod option_tokens;
mod span;
mod token_spans;

pub use encoder::{Encoded, PromptEncoder};
pub use error::{EncodeError, PromptError, PromptSettingsError};
pub use option_tokens::OptionTokenError;
pub use token_spans::TokenSpan;
