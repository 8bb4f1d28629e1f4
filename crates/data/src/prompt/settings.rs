//! The settings that turn examples into text, as they are written in TOML.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use plw_batch::option_letter;
use serde::{Deserialize, Serialize};

use super::chat_choice::ChatTemplateChoice;
use super::python_list::python_list;
use super::template::{Fields, PromptTemplate, TemplateError};
use crate::shapes::Question;

/// The article's prompt (Vaughn 2024).
const ARTICLE_PROMPT: &str = "Choose the correct option based on the context.\n\
    Context:{article}\nQuestion:{question}\nOptions:{options}";

/// The same without a passage.
const PROMPT_WITHOUT_PASSAGE: &str =
    "Choose the correct option.\nQuestion:{question}\nOptions:{options}";

static PROMPT: LazyLock<PromptTemplate> = LazyLock::new(|| constant(ARTICLE_PROMPT));
static WITHOUT_PASSAGE: LazyLock<PromptTemplate> =
    LazyLock::new(|| constant(PROMPT_WITHOUT_PASSAGE));
static ANSWER: LazyLock<PromptTemplate> = LazyLock::new(|| constant("{answer}"));

fn constant(source: &str) -> PromptTemplate {
    PromptTemplate::parse(source).expect("a constant whose braces are balanced")
}

/// Which turns of the assistant are completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossTurns {
    /// All of them.
    #[default]
    All,
    /// The last one. Those before it are part of the prompt.
    Last,
}

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

/// How to turn examples into text. The default is the article's prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptSettings {
    /// The user's turn of a question or an instruction. Its fields are {question}, {options} and,
    /// where there is one, {article} of a question, {prompt} of an instruction, and every column of
    /// text. Unless it is given: the article's prompt, without its context where there is no
    /// passage; of an instruction {prompt}. Lists of messages are rendered as they are.
    pub prompt_template: Option<PromptTemplate>,
    /// The assistant's turn. It has the same fields, and {answer}, the letter of the right option,
    /// or {completion}, which it is unless it is given.
    pub completion_template: Option<PromptTemplate>,
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
    /// Which turns of the assistant are completions.
    pub loss_turns: LossTurns,
}

impl Default for PromptSettings {
    fn default() -> Self {
        Self {
            prompt_template: None,
            completion_template: None,
            options_style: OptionsStyle::PythonList,
            option_template: constant("{letter}. {option}"),
            option_separator: "\n".to_owned(),
            chat_template: ChatTemplateChoice::Model,
            chat_template_date: None,
            append_eos: true,
            loss_turns: LossTurns::All,
        }
    }
}

impl PromptSettings {
    /// The template of the user's turn of a question.
    fn prompt_template(&self, question: &Question) -> &PromptTemplate {
        let default = match question.article {
            Some(_) => &PROMPT,
            None => &WITHOUT_PASSAGE,
        };
        self.prompt_template.as_ref().unwrap_or(default)
    }

    /// The template of the assistant's turn of a question.
    pub fn answer_template(&self) -> &PromptTemplate {
        self.completion_template.as_ref().unwrap_or(&ANSWER)
    }

    /// The user's turn of a question.
    ///
    /// # Errors
    /// [`TemplateError::UnknownField`].
    pub fn prompt(&self, question: &Question) -> Result<String, TemplateError> {
        let template = self.prompt_template(question);
        template.render(&self.fields(question, template)?)
    }

    /// The assistant's turn of a question, once for each option as if it were the right one.
    ///
    /// # Errors
    /// [`TemplateError::UnknownField`].
    pub fn completions(&self, question: &Question) -> Result<Vec<String>, TemplateError> {
        let template = self.answer_template();
        let mut fields = self.fields(question, template)?;
        (0..question.options.len())
            .map(|option| {
                fields.insert("answer", option_letter(option).to_string().into());
                template.render(&fields)
            })
            .collect()
    }

    /// The turns of the user and the assistant for an instruction, whose `fields` have a {prompt}
    /// and a {completion}.
    ///
    /// # Errors
    /// [`TemplateError::UnknownField`].
    pub fn exchange(
        &self,
        fields: &BTreeMap<String, String>,
    ) -> Result<[String; 2], TemplateError> {
        let of = |template: &Option<PromptTemplate>, default: &str| match template {
            None => Ok(fields.get(default).cloned().unwrap_or_default()),
            Some(template) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, text)| (name.as_str(), Cow::from(text)));
                template.render(&fields.collect())
            }
        };
        let prompt = of(&self.prompt_template, "prompt")?;
        Ok([prompt, of(&self.completion_template, "completion")?])
    }

    /// The fields of a template, all but {answer}. Prints the options only if `template` uses them.
    fn fields<'a>(
        &self,
        question: &'a Question,
        template: &PromptTemplate,
    ) -> Result<Fields<'a>, TemplateError> {
        let columns = question.columns.iter();
        let mut fields: Fields = columns
            .map(|(name, text)| (name.as_str(), Cow::from(text)))
            .collect();
        if let Some(article) = &question.article {
            fields.insert("article", article.as_str().into());
        }
        fields.insert("question", question.question.as_str().into());
        fields.insert("example_id", question.example_id.as_str().into());
        fields.insert("level", question.level.as_str().into());
        let asked = template.names().any(|name| name == "options");
        let options = if asked {
            self.options(&question.options)?
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
    use crate::shapes::question_cases::question;

    #[test]
    fn the_default_is_the_articles() {
        let settings = PromptSettings::default();
        let example = question("It rained.", "Why's that?", &["It's wet", "no"], 1);
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
        let mut example = question("a", "q", &["one", "two"], 0);
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
