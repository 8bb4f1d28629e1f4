//! The choice of a chat template, as it is written in TOML.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The chat template that renders both turns. Written as `model`, `llama-2`, `chatml`, `none`, the
/// path of a `.jinja` file, or the text of a template (anything with `{{` or `{%` in it).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ChatTemplateChoice {
    /// The template of the model directory.
    #[default]
    Model,
    /// Llama 2's `[INST] ... [/INST]`.
    Llama2,
    /// `<|im_start|>role ... <|im_end|>`.
    ChatMl,
    /// No template: the completion follows the prompt directly.
    None,
    /// A file with a Jinja template.
    File(PathBuf),
    /// A Jinja template.
    Inline(String),
}

/// An unknown name of a chat template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "chat_template = {0:?} is not known: use model, llama-2, chatml, none, a path that ends in \
     .jinja, or a Jinja template"
)]
pub struct UnknownChatTemplate(String);

impl TryFrom<String> for ChatTemplateChoice {
    type Error = UnknownChatTemplate;

    fn try_from(text: String) -> Result<Self, UnknownChatTemplate> {
        match text.as_str() {
            "model" => Ok(Self::Model),
            "llama-2" => Ok(Self::Llama2),
            "chatml" => Ok(Self::ChatMl),
            "none" => Ok(Self::None),
            _ if text.contains("{{") || text.contains("{%") => Ok(Self::Inline(text)),
            _ if text.ends_with(".jinja") => Ok(Self::File(text.into())),
            _ => Err(UnknownChatTemplate(text)),
        }
    }
}

impl From<ChatTemplateChoice> for String {
    fn from(choice: ChatTemplateChoice) -> Self {
        match choice {
            ChatTemplateChoice::Model => "model".into(),
            ChatTemplateChoice::Llama2 => "llama-2".into(),
            ChatTemplateChoice::ChatMl => "chatml".into(),
            ChatTemplateChoice::None => "none".into(),
            ChatTemplateChoice::File(path) => path.to_string_lossy().into_owned(),
            ChatTemplateChoice::Inline(template) => template,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        for text in [
            "model",
            "llama-2",
            "chatml",
            "none",
            "dir/chat.jinja",
            "{{ messages }}",
        ] {
            let choice = ChatTemplateChoice::try_from(text.to_owned()).expect(text);
            assert_eq!(String::from(choice), text);
        }
        let error = ChatTemplateChoice::try_from("lama-2".to_owned()).expect_err("a typing error");
        assert!(
            error
                .to_string()
                .contains("\"lama-2\" is not known: use model, llama-2")
        );
    }
}
