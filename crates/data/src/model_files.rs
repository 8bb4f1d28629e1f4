//! The small JSON files of a Hugging Face model directory that say how text is tokenised.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Why a file of the model directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}; check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It is no JSON.
    #[error("{} is not valid JSON: {cause}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: serde_json::Error,
    },
    /// It is no tokenizer.
    #[error("{} is no tokenizer of the tokenizers library (is it tokenizer.json?): {cause}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the library says.
        cause: String,
    },
    /// It names a token that the tokenizer does not have.
    #[error("{} names the {role} {token:?}, which the tokenizer does not have", directory.display())]
    UnknownToken {
        /// The model directory.
        directory: PathBuf,
        /// `eos_token`, for example.
        role: String,
        /// The token.
        token: String,
    },
}

/// A text file, or `None` if it does not exist.
pub(crate) fn read_optional(path: &Path) -> Result<Option<String>, ModelFileError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ModelFileError::Read {
            path: path.into(),
            cause,
        }),
    }
}

/// A JSON file, or null if it does not exist.
pub(crate) fn read_optional_json(path: &Path) -> Result<Value, ModelFileError> {
    let Some(text) = read_optional(path)? else {
        return Ok(Value::Null);
    };
    serde_json::from_str(&text).map_err(|cause| ModelFileError::Json {
        path: path.into(),
        cause,
    })
}
