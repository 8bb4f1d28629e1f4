//! Why an example cannot be encoded, or an encoder cannot be made.

use std::sync::Arc;

use super::option_tokens::OptionTokenError;
use crate::prompt::{ChatTemplateChoice, ChatTemplateError, TemplateError};
use crate::tokenizer::{ModelFileError, TokenizeError};

/// An example that cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[error("{file}, row {row}: {cause}")]
pub struct PromptError {
    /// The example's file.
    pub file: Arc<str>,
    /// Its row there, from 0.
    pub row: u64,
    /// Why.
    pub cause: EncodeError,
}

/// Why an example cannot be encoded.
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
    /// The chat template renders turns differently if others follow.
    #[error(
        "the rendered prompt is not a prefix of the rendered conversation: they differ from byte \
         {at} on, {prompt:?} against {conversation:?}; use a chat template that only appends, or \
         that marks the assistant's turns with {{% generation %}} ({names}, or your own .jinja \
         file)",
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
    /// The chat template marks more or fewer parts than there are turns.
    #[error(
        "the chat template marks {marked} part(s) with {{% generation %}}, and {turns} turn(s) are \
         the assistant's, so that a turn's weight or place is not clear: mark each turn once"
    )]
    Generations {
        /// Parts that are marked.
        marked: usize,
        /// Turns of the assistant.
        turns: usize,
    },
    /// A turn of the user has a weight, and the template does not tell which part of the text it
    /// is.
    #[error(
        "a turn that is not the assistant's has a weight, which a chat template with {{% \
         generation %}} cannot place: leave the weight out, or use a template without it"
    )]
    WeightOfPrompt,
    /// Several turns cannot follow each other without a template.
    #[error(
        "without a chat template an example is one turn of the user and one of the assistant, in \
         text: set chat_template to {names} or the path of a .jinja file",
        names = ChatTemplateChoice::names()[..ChatTemplateChoice::names().len() - 1].join(", ")
    )]
    NeedsChatTemplate,
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
