//! The choice of a chat template, as it is written in TOML, and the built-in templates.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A chat template that comes with this crate.
#[derive(Debug, PartialEq, Eq)]
pub struct BuiltInChatTemplate {
    /// Its name in TOML.
    pub name: &'static str,
    /// The Jinja template.
    pub source: &'static str,
    /// Special tokens that it names, where the model directory does not. The golden values are made
    /// with `<s>` and `</s>`, so a template spells other tokens out.
    pub special_tokens: &'static [(&'static str, &'static str)],
}

/// The chat templates that come with this crate.
pub static BUILT_IN_CHAT_TEMPLATES: &[BuiltInChatTemplate] = &[
    // `[INST] ... [/INST]`.
    BuiltInChatTemplate {
        name: "llama-2",
        source: include_str!("../../templates/llama-2.jinja"),
        special_tokens: &[("bos_token", "<s>"), ("eos_token", "</s>")],
    },
    // `<|im_start|>role ... <|im_end|>`.
    BuiltInChatTemplate {
        name: "chatml",
        source: include_str!("../../templates/chatml.jinja"),
        special_tokens: &[],
    },
];

/// The chat template that renders both turns. Written as `model`, the name of a built-in template,
/// `none`, the path of a `.jinja` file, or the text of a template (anything with `{{` or `{%`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ChatTemplateChoice {
    /// The template of the model directory.
    #[default]
    Model,
    /// One of [`BUILT_IN_CHAT_TEMPLATES`].
    BuiltIn(&'static BuiltInChatTemplate),
    /// No template: the completion follows the prompt directly.
    None,
    /// A file with a Jinja template.
    File(PathBuf),
    /// A Jinja template.
    Inline(String),
}

impl ChatTemplateChoice {
    /// The names that need no file: `model`, the built-in templates, `none`.
    pub fn names() -> Vec<&'static str> {
        let built_in = BUILT_IN_CHAT_TEMPLATES.iter().map(|template| template.name);
        std::iter::once("model")
            .chain(built_in)
            .chain(std::iter::once("none"))
            .collect()
    }
}

/// An unknown name of a chat template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "chat_template = {0:?} is not known: use {names}, a path that ends in .jinja, or a Jinja \
     template",
    names = ChatTemplateChoice::names().join(", ")
)]
pub struct UnknownChatTemplate(String);

impl TryFrom<String> for ChatTemplateChoice {
    type Error = UnknownChatTemplate;

    fn try_from(text: String) -> Result<Self, UnknownChatTemplate> {
        let mut built_in = BUILT_IN_CHAT_TEMPLATES.iter();
        match text.as_str() {
            "model" => Ok(Self::Model),
            "none" => Ok(Self::None),
            name => match built_in.find(|template| template.name == name) {
                Some(template) => Ok(Self::BuiltIn(template)),
                None if text.contains("{{") || text.contains("{%") => Ok(Self::Inline(text)),
                None if text.ends_with(".jinja") => Ok(Self::File(text.into())),
                None => Err(UnknownChatTemplate(text)),
            },
        }
    }
}

impl From<ChatTemplateChoice> for String {
    fn from(choice: ChatTemplateChoice) -> Self {
        match choice {
            ChatTemplateChoice::Model => "model".into(),
            ChatTemplateChoice::BuiltIn(template) => template.name.into(),
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
        let mut choices = ChatTemplateChoice::names();
        choices.extend(["dir/chat.jinja", "{{ messages }}"]);
        for text in choices {
            let choice = ChatTemplateChoice::try_from(text.to_owned()).expect(text);
            assert_eq!(String::from(choice), text);
        }
        let error = ChatTemplateChoice::try_from("lama-2".to_owned()).expect_err("a typing error");
        let names = ChatTemplateChoice::names().join(", ");
        let expected = format!("\"lama-2\" is not known: use {names}, a path");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}
