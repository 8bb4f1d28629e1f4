//! The JSON files of a model directory in the Hugging Face layout. They come from other people:
//! only regular files are read, and no more than a bound.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Bytes of the largest file that is read. The largest tokenizer.json in use has about 33 MB.
const LARGEST_FILE: u64 = 128 << 20;

/// Why a file of a model directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}; check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// It is not JSON.
    #[error("{} is not valid JSON: {cause}; fix or download it again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The place and the cause.
        cause: serde_json::Error,
    },
    /// It is not a tokenizer.
    #[error(
        "{} cannot be used by the tokenizers library: {cause}; give the \
         tokenizer.json of a model",
        path.display()
    )]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// The directory names a token that the tokenizer does not have.
    #[error(
        "{} names the {role} {token:?}, which its tokenizer does not have; use the files \
         of one model",
        directory.display()
    )]
    UnknownToken {
        /// The model directory.
        directory: PathBuf,
        /// Its role, such as `eos_token`.
        role: String,
        /// The token.
        token: String,
    },
}

/// A text file, or `None` if it does not exist.
pub(crate) fn read_optional(path: &Path) -> Result<Option<String>, ModelFileError> {
    match read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ModelFileError::Read {
            path: path.into(),
            cause,
        }),
    }
}

/// A text file.
pub(crate) fn read_required(path: &Path) -> Result<String, ModelFileError> {
    read_text(path).map_err(|cause| ModelFileError::Read {
        path: path.into(),
        cause,
    })
}

fn read_text(path: &Path) -> io::Result<String> {
    plw_files::read_text(path, LARGEST_FILE).map_err(|error| error.source)
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
