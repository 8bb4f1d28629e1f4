//! Prompt templates: text with `{name}` in place of a field. Knows fields by name; knows no
//! question and no chat.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bounds::LONGEST_TEXT;

/// The fields that a template may use, by name.
pub type Fields<'a> = BTreeMap<&'a str, Cow<'a, str>>;

/// Text with `{name}` in place of a field; `{{` and `}}` print braces. Serialized as that text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PromptTemplate {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

/// Why a template cannot be parsed or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`, or a `}` without its `{`.
    #[error(
        "the template has a lone `{brace}` at byte {at}: write {{name}} for a field, or double the \
         brace to print it"
    )]
    LoneBrace {
        /// The brace.
        brace: char,
        /// Its byte in the template.
        at: usize,
    },
    /// A name without a field.
    #[error(
        "the template asks for {{{name}}}, which does not exist; there are: {}",
        existing.join(", ")
    )]
    UnknownField {
        /// The name.
        name: String,
        /// The names that exist.
        existing: Vec<String>,
    },
    /// The text is too long.
    #[error(
        "the template makes a text of more than {LONGEST_TEXT} bytes, the most that are tokenized: \
         print fewer fields, or leave the row out"
    )]
    TooLong,
}

impl PromptTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError::LoneBrace`].
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(found) = rest.find(['{', '}']) {
            let at = source.len() - rest.len() + found;
            text.push_str(&rest[..found]);
            let after = &rest[found + 1..];
            let brace = if rest[found..].starts_with('{') {
                '{'
            } else {
                '}'
            };
            if let Some(escaped) = after.strip_prefix(brace) {
                text.push(brace);
                rest = escaped;
                continue;
            }
            let lone = TemplateError::LoneBrace { brace, at };
            let end = after
                .find(['{', '}'])
                .filter(|_| brace == '{')
                .ok_or(lone.clone())?;
            if !after[end..].starts_with('}') {
                return Err(lone);
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Field(after[..end].to_owned()));
            rest = &after[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self {
            source: source.to_owned(),
            parts,
        })
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names of its fields, in order and with repetitions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Fills the fields in. Braces in the text of a field stay as they are.
    ///
    /// # Errors
    /// [`TemplateError::UnknownField`], [`TemplateError::TooLong`].
    pub fn render(&self, fields: &Fields) -> Result<String, TemplateError> {
        let mut rendered = String::new();
        for part in &self.parts {
            let text: &str = match part {
                Part::Text(text) => text,
                Part::Field(name) => {
                    fields
                        .get(name.as_str())
                        .ok_or_else(|| TemplateError::UnknownField {
                            name: name.clone(),
                            existing: fields.keys().map(ToString::to_string).collect(),
                        })?
                }
            };
            if rendered.len() + text.len() > LONGEST_TEXT {
                return Err(TemplateError::TooLong);
            }
            rendered.push_str(text);
        }
        Ok(rendered)
    }
}

impl TryFrom<String> for PromptTemplate {
    type Error = TemplateError;

    fn try_from(source: String) -> Result<Self, TemplateError> {
        Self::parse(&source)
    }
}

impl From<PromptTemplate> for String {
    fn from(template: PromptTemplate) -> Self {
        template.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String, TemplateError> {
        let fields = Fields::from([("answer", "B".into()), ("question", "{answer}?".into())]);
        PromptTemplate::parse(source)?.render(&fields)
    }

    #[test]
    fn fields_go_in_and_double_braces_stay() {
        let cases = [
            ("", ""),
            ("plain é", "plain é"),
            ("{answer}", "B"),
            ("Q:{question}\nA: {answer}.", "Q:{answer}?\nA: B."),
            ("{{answer}}", "{answer}"),
            ("{{{answer}}}", "{B}"),
            ("}}{{", "}{"),
        ];
        for (source, expected) in cases {
            assert_eq!(render(source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn lone_braces_are_refused_where_they_stand() {
        for (source, brace, at) in [
            ("a{", '{', 1),
            ("a}b", '}', 1),
            ("{answer", '{', 0),
            ("{a{b}}", '{', 0),
            ("{{}", '}', 2),
        ] {
            assert_eq!(
                render(source),
                Err(TemplateError::LoneBrace { brace, at }),
                "{source}"
            );
        }
    }

    #[test]
    fn an_unknown_name_lists_what_exists() {
        let error = render("{article}").expect_err("there is no article");
        assert_eq!(
            error.to_string(),
            "the template asks for {article}, which does not exist; there are: answer, question"
        );
    }
}
