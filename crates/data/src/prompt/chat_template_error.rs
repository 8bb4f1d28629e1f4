//! Why a chat template cannot be loaded or rendered.

use std::path::PathBuf;

use minijinja::ErrorKind;

use super::bounds::LONGEST_TEXT;
use super::chat_choice::ChatTemplateChoice;
use crate::tokenizer::ModelFileError;

/// Why a chat template cannot be loaded or rendered.
#[derive(Debug, thiserror::Error)]
pub enum ChatTemplateError {
    /// The model directory has none.
    #[error(
        "{} has no chat template, neither chat_template.jinja nor chat_template in \
         tokenizer_config.json: set chat_template to {} or the path of a .jinja file",
        directory.display(),
        ChatTemplateChoice::names()[1..].join(", ")
    )]
    Missing {
        /// The model directory.
        directory: PathBuf,
    },
    /// The model directory has several, none of which is called `default`.
    #[error(
        "{} has chat templates called {}, but none called default: write one of them to a .jinja \
         file and set chat_template to its path",
        path.display(), names.join(", ")
    )]
    NoDefault {
        /// The file that names them.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// The date for `strftime_now` is malformed.
    #[error("chat_template_date = {0:?} is not a date: write YYYY-MM-DD")]
    Date(String),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// Jinja cannot parse or render the template.
    #[error("the chat template fails: {0}")]
    Jinja(String),
    /// Rendering takes more work than any conversation needs.
    #[error(
        "the chat template does more work than is allowed for one conversation: it loops for too \
         long, or its texts grow too long. Use another chat template"
    )]
    OutOfFuel,
    /// A message holds what marks the assistant's part of a text.
    #[error(
        "a message holds U+10FFFE followed by U+FDD0 or U+FDD1, which are no characters: take them \
         out of the data"
    )]
    Marks,
    /// The conversation is too long.
    #[error(
        "the rendered conversation has {0} bytes, and at most {LONGEST_TEXT} are tokenized: use \
         another chat template, or leave the row out"
    )]
    TooLong(usize),
}

impl From<minijinja::Error> for ChatTemplateError {
    fn from(error: minijinja::Error) -> Self {
        match error.kind() {
            ErrorKind::OutOfFuel => Self::OutOfFuel,
            _ => Self::Jinja(error.to_string()),
        }
    }
}
