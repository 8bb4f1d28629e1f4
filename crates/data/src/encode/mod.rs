//! A question becomes token ids: where its completion begins, where its answer is predicted, and
//! the token of each option.

mod difference;
mod encoder;
mod error;
mod option_tokens;
mod token_spans;

pub use encoder::{Encoded, PromptEncoder};
pub use error::{EncodeError, PromptError, PromptSettingsError};
pub use option_tokens::OptionTokenError;
pub use token_spans::TokenSpan;
