//! The settings that turn a question into text, as they are written in TOML.

use std::borrow::Cow;

use plw_batch::option_letter;
use serde::{Deserialize, Serialize};

use super::chat_choice::ChatTemplateChoice;
use super::python_list::python_list;
use super::template::{Fields, PromptTemplate, TemplateError};
use crate::rows::Example;

/// The article's prompt (Vaughn 2024).
const ARTICLE_PROMPT: &str = "Choose the correct option based on the context.\n\
    Context:{article}\nQuestion:{question}\nOptions:{options}";

/// How to print `{options}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptionsStyle {
    /// As Python prints a list of strings; the article's own script does that.
    #[default]
    PythonList,
    /// Each option by `option_template`, joined by `option_separator`.
    Lettered,
}

/// How to turn a question into text. The default is the article's prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptSettings {
    /// The user's turn. Its fields are {article}, {question}, {options}, {example_id}, {level} and
    /// every other column of text.
    pub prompt_template: PromptTemplate,
    /// The assistant's turn. It has the same fields and {answer}, the letter of the right option.
    pub completion_template: PromptTemplate,
    /// How to print {options}.
    pub options_style: OptionsStyle,
    /// One option under `lettered`; its fields are {letter} and {option}.
    pub option_template: PromptTemplate,
    /// The text between two options under `lettered`.
    pub option_separator: String,
    /// The chat template that renders both turns.
    pub chat_template: ChatTemplateChoice,
    /// The date, as `YYYY-MM-DD`, that `strftime_now` returns to chat templates.
    pub chat_template_date: Option<String>,
    /// Whether the end-of-sequence token ends a completion under `chat_template = "none"`.
    pub append_eos: bool,
}

impl Default for PromptSettings {
    fn default() -> Self {
        let parse =
            |source| PromptTemplate::parse(source).expect("a constant whose braces are balanced");
        Self {
            prompt_template: parse(ARTICLE_PROMPT),
            completion_template: parse("{answer}"),
            options_style: OptionsStyle::PythonList,
            option_template: parse("{letter}. {option}"),
            option_separator: "\n".to_owned(),
            chat_template: ChatTemplateChoice::Model,
            chat_template_date: None,
            append_eos: true,
        }
    }
}

impl PromptSettings {
    /// The user's turn of an example.
    ///
    /// # Errors
    /// [`TemplateError::UnknownField`].
    pub fn prompt(&self, example: &Example) -> Result<String, TemplateError> {
        self.prompt_template
            .render(&self.fields(example, &self.prompt_template)?)
    }

    /// The assistant's turn of an example, once for each option as if it were the right one.
    ///
    /// # Errors
    /// [`TemplateError::UnknownField`].
    pub fn completions(&self, example: &Example) -> Result<Vec<String>, TemplateError> {
        let mut fields = self.fields(example, &self.completion_template)?;
        (0..example.options.len())
            .map(|option| {
                fields.insert("answer", option_letter(option).to_string().into());
                self.completion_template.render(&fields)
            })
            .collect()
    }

    /// The fields of a template, all but {answer}. Prints the options only if `template` uses them.
    fn fields<'a>(
        &self,
        example: &'a Example,
        template: &PromptTemplate,
    ) -> Result<Fields<'a>, TemplateError> {
        let columns = example.columns.iter();
        let mut fields: Fields = columns
            .map(|(name, text)| (name.as_str(), Cow::from(text)))
            .collect();
        fields.insert("article", example.article.as_str().into());
        fields.insert("question", example.question.as_str().into());
        fields.insert("example_id", example.example_id.as_str().into());
        fields.insert("level", example.level.as_str().into());
        let asked = template.names().any(|name| name == "options");
        let options = if asked {
            self.options(&example.options)?
        } else {
            String::new()
        };
        fields.insert("options", options.into());
        Ok(fields)
    }

    fn options(&self, options: &[String]) -> Result<String, TemplateError> {
        if self.options_style == OptionsStyle::PythonList {
            return Ok(python_list(options));
        }
        let items: Result<Vec<String>, TemplateError> = options
            .iter()
            .enumerate()
            .map(|(index, option)| {
                let letter = option_letter(index).to_string();
                self.option_template.render(&Fields::from([
                    ("letter", letter.into()),
                    ("option", option.as_str().into()),
                ]))
            })
            .collect();
        Ok(items?.join(&self.option_separator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::example_cases::example;

    #[test]
    fn the_default_is_the_articles() {
        let settings = PromptSettings::default();
        let example = example("It rained.", "Why's that?", &["It's wet", "no"], 1);
        assert_eq!(
            settings.prompt(&example).expect("every name exists"),
            "Choose the correct option based on the context.\n\
             Context:It rained.\nQuestion:Why's that?\nOptions:[\"It's wet\", 'no']"
        );
        assert_eq!(
            settings.completions(&example).expect("every name exists"),
            ["A", "B"]
        );
    }

    #[test]
    fn lettered_options_and_other_columns() {
        let settings: PromptSettings = serde_json::from_value(serde_json::json!({
            "prompt_template": "{source}|{options}",
            "completion_template": "{answer} ({level})",
            "options_style": "lettered",
            "option_template": "{letter} {option}",
            "option_separator": " / ",
        }))
        .expect("settings");
        let mut example = example("a", "q", &["one", "two"], 0);
        example.columns.insert("source".into(), "book".into());
        assert_eq!(
            settings.prompt(&example).expect("every name exists"),
            "book|A one / B two"
        );
        assert_eq!(
            settings.completions(&example).expect("every name exists"),
            ["A (middle)", "B (middle)"]
        );
    }
}
