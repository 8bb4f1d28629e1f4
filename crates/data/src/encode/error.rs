//! Why a question cannot be encoded, or an encoder cannot be made.

use std::sync::Arc;

use super::option_tokens::OptionTokenError;
use crate::prompt::{ChatTemplateChoice, ChatTemplateError, TemplateError};
use crate::tokenizer::{ModelFileError, TokenizeError};

/// A question that cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[error("{file}, row {row}: {cause}")]
pub struct PromptError {
    /// The question's file.
    pub file: Arc<str>,
    /// Its row there, from 0.
    pub row: u64,
    /// Why.
    pub cause: EncodeError,
}

/// Why a question cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A template uses a field that the row does not have.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The chat template fails.
    #[error(transparent)]
    Chat(#[from] ChatTemplateError),
    /// The tokenizer fails.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The chat template renders the user's turn differently if an answer follows.
    #[error(
        "the rendered prompt is not a prefix of the rendered conversation: they differ from byte \
         {at} on, {prompt:?} against {conversation:?}; use a chat template that only appends \
         ({names}, or your own .jinja file)",
        names = ChatTemplateChoice::names()[1..].join(", ")
    )]
    NotAPrefix {
        /// The first byte that differs.
        at: usize,
        /// The first characters of the prompt from there on.
        prompt: String,
        /// The first characters of the conversation from there on.
        conversation: String,
    },
    /// Nothing follows the prompt.
    #[error("the completion has no token: check completion_template and the chat template")]
    EmptyCompletion,
    /// The options do not differ in one token.
    #[error(transparent)]
    OptionTokens(#[from] OptionTokenError),
}

/// Why an encoder cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PromptSettingsError {
    /// The prompt contains the answer.
    #[error(
        "prompt_template holds {{answer}}, which would give the answer away: move it to \
         completion_template"
    )]
    AnswerInPrompt,
    /// Without the answer in the completion there is nothing to score.
    #[error(
        "completion_template {completion:?} does not hold {{answer}}, so that no answer could be \
         scored: an evaluation needs it"
    )]
    NoAnswer {
        /// The template.
        completion: String,
    },
    /// `chat_template = "none"` needs a token that ends a completion.
    #[error(
        "append_eos needs the model's end-of-sequence token, but none of tokenizer_config.json, \
         special_tokens_map.json and config.json names one: add it there, or set append_eos = false"
    )]
    NoEndOfSequence,
    /// A file of the model directory cannot be used.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The chat template cannot be loaded.
    #[error(transparent)]
    Chat(#[from] ChatTemplateError),
}
