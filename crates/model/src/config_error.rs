//! Why a model's configuration cannot be used.

use serde::Serialize;

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not a JSON object.
    #[error("{0}; is this the config.json of a Hugging Face Llama?")]
    Malformed(#[from] serde_json::Error),
    /// A key is missing.
    #[error("`{key}` is missing; is this the config.json of a Hugging Face Llama?")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value has the wrong type.
    #[error("`{key}`: {source}; take the value from the model's original config.json")]
    Key {
        /// The key of config.json.
        key: String,
        /// What is wrong with its value.
        source: serde_json::Error,
    },
    /// The architecture, or a variation of it, is not implemented.
    #[error("`{key}` is {found}, but only {supported} is supported")]
    Unsupported {
        /// The key of config.json.
        key: &'static str,
        /// Its value there.
        found: String,
        /// What this crate implements.
        supported: &'static str,
    },
    /// A size is zero, too large, or contradicts another size.
    #[error("{0}")]
    Sizes(String),
    /// The machine has not the memory for the weights now.
    #[error(
        "the weights of {parameters} parameters take {bytes} bytes, more memory than this machine \
         gives; the greatest size is `{key}` ({size})"
    )]
    Memory {
        /// Parameters of the model.
        parameters: u64,
        /// Bytes of its weights.
        bytes: u64,
        /// The greatest size.
        key: &'static str,
        /// Its value.
        size: usize,
    },
}

impl ConfigError {
    pub(crate) fn unsupported(
        key: &'static str,
        found: &impl Serialize,
        supported: &'static str,
    ) -> Self {
        let found = serde_json::to_string(found).unwrap_or_default();
        Self::Unsupported {
            key,
            found,
            supported,
        }
    }
}
