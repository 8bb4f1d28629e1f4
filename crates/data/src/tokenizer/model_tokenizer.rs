//! The tokenizer of a model directory.

use std::path::{Path, PathBuf};

use plw_batch::{Segment, Sequence};
use plw_files::{digest, guarded};
use tokenizers::{Encoding, Tokenizer};

use super::json_files::{ModelFileError, read_optional_json, read_required};
use super::normalizer::check_normalizer;
use super::special_tokens::SpecialTokens;

/// A model's tokenizer, its special tokens, and the token that ends a text. Neither truncates nor
/// pads.
#[derive(Debug, Clone)]
pub struct ModelTokenizer {
    tokenizer: Tokenizer,
    special_tokens: SpecialTokens,
    eos: Option<u32>,
    /// The file that it was read from, for errors.
    path: PathBuf,
    /// The digest of that file.
    digest: Option<String>,
}

/// The tokenizer fails on a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} cannot tokenize this text: {cause}; give the tokenizer.json of a model", path.display()
)]
pub struct TokenizeError {
    /// The tokenizer's file.
    pub path: PathBuf,
    /// Why.
    pub cause: String,
}

impl ModelTokenizer {
    /// Reads `tokenizer.json`, the special tokens and, if those have no `eos_token`, `eos_token_id`
    /// of `config.json`.
    ///
    /// # Errors
    /// A file is missing or malformed, or the tokenizer lacks the `eos_token`.
    pub fn from_directory(directory: &Path) -> Result<Self, ModelFileError> {
        let path = directory.join("tokenizer.json");
        let json = read_required(&path)?;
        let tokenizer = load(&json).map_err(|cause| ModelFileError::Tokenizer {
            path: path.clone(),
            cause,
        })?;
        let special_tokens = SpecialTokens::from_directory(directory)?;
        let token = special_tokens.get("eos_token").map(ToOwned::to_owned);
        let mut model = Self {
            path,
            digest: Some(digest(&json)),
            ..Self::new(tokenizer, special_tokens)
        };
        match token {
            Some(token) if model.eos.is_none() => {
                let role = "eos_token".to_owned();
                return Err(ModelFileError::UnknownToken {
                    directory: directory.into(),
                    role,
                    token,
                });
            }
            Some(_) => {}
            None => model.eos = configured_eos(directory)?,
        }
        Ok(model)
    }

    /// From its parts; `eos_token` ends a text if the tokenizer has it.
    pub fn new(tokenizer: Tokenizer, special_tokens: SpecialTokens) -> Self {
        let tokenizer = without_truncation_and_padding(tokenizer);
        let eos = special_tokens
            .get("eos_token")
            .and_then(|token| tokenizer.token_to_id(token));
        Self {
            tokenizer,
            special_tokens,
            eos,
            path: "tokenizer.json".into(),
            digest: None,
        }
    }

    /// The tokenizer of the tokenizers library.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The special tokens, by role.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special_tokens
    }

    /// The digest of the file that it was read from, if it was read from one.
    pub(crate) fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The token that ends a text, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The tokens of a text, with their offsets in bytes.
    pub(crate) fn encode(
        &self,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<Encoding, TokenizeError> {
        self.guarded(|| self.tokenizer.encode(text, add_special_tokens))
    }

    /// The tokens of a text, without their offsets, which saves time.
    pub(crate) fn token_ids(
        &self,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<Vec<u32>, TokenizeError> {
        let encoding = self.guarded(|| self.tokenizer.encode_fast(text, add_special_tokens))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Calls the tokenizers library, which panics on some parts that are damaged.
    fn guarded(
        &self,
        work: impl FnOnce() -> tokenizers::Result<Encoding>,
    ) -> Result<Encoding, TokenizeError> {
        flatten(guarded(work)).map_err(|cause| TokenizeError {
            path: self.path.clone(),
            cause,
        })
    }

    /// Tokenizes a plain text for pretraining: every token is completion. The tokenizer's
    /// post-processor may put tokens first; the end-of-sequence token comes last, if there is one.
    /// `example` and `group` are 0.
    ///
    /// # Errors
    /// [`TokenizeError`].
    pub fn encode_text(&self, text: &str) -> Result<Sequence, TokenizeError> {
        let mut token_ids = self.token_ids(text, true)?;
        if let Some(eos) = self.eos.filter(|eos| token_ids.last() != Some(eos)) {
            token_ids.push(eos);
        }
        Ok(Sequence {
            example: 0,
            group: 0,
            segments: Segment::prompt_and_completion(0, token_ids.len()),
            token_ids,
            answer: None,
        })
    }
}

/// The tokenizer of a `tokenizer.json`, without truncation and padding. Its parts are not checked
/// before their first use: a text is tokenized at once, so that a panic comes here.
fn load(json: &str) -> Result<Tokenizer, String> {
    check_normalizer(json)?;
    let tokenizer = flatten(guarded(|| Tokenizer::from_bytes(json)))?;
    let tokenizer = without_truncation_and_padding(tokenizer);
    guarded(|| drop(tokenizer.encode("Anna's 12 cats:\n é 日本 ", true)))?;
    Ok(tokenizer)
}

fn without_truncation_and_padding(mut tokenizer: Tokenizer) -> Tokenizer {
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(None)
        .expect("turning truncation off has no bounds that could be wrong");
    tokenizer
}

fn flatten<T>(result: Result<tokenizers::Result<T>, String>) -> Result<T, String> {
    result?.map_err(|error| error.to_string())
}

/// `eos_token_id` of `config.json`: a number, or the first of a list.
fn configured_eos(directory: &Path) -> Result<Option<u32>, ModelFileError> {
    let config = read_optional_json(&directory.join("config.json"))?;
    let id = config
        .get("eos_token_id")
        .and_then(|id| id.as_u64().or_else(|| id.get(0)?.as_u64()));
    Ok(id.and_then(|id| u32::try_from(id).ok()))
}
