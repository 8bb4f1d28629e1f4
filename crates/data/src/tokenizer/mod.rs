//! The tokenizer of a model directory in the Hugging Face layout, and its special tokens.

mod json_files;
mod model_tokenizer;
mod normalizer;
mod special_tokens;

pub use json_files::ModelFileError;
pub(crate) use json_files::{read_optional, read_optional_json, read_required};
pub use model_tokenizer::{ModelTokenizer, TokenizeError};
pub use special_tokens::SpecialTokens;
