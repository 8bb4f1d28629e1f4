//! Prompt templates: text with `{name}` where a field goes. Knows fields by name; knows no question and no chat.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a template's names stand for, by name.
pub type Fields<'a> = BTreeMap<&'a str, Cow<'a, str>>;

/// Text with `{name}` where a field goes; `{{` and `}}` are braces. In configurations it is written as its text.
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

/// Why a template cannot be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` without its `}`, or the other way round.
    #[error(
        "the template has a lone `{brace}` at byte {at}: write {{name}} for a field and double the brace to print one"
    )]
    LoneBrace {
        /// Which of the two.
        brace: char,
        /// Its place in the template, in bytes.
        at: usize,
    },
    /// A name that no column has.
    #[error("the template asks for {{{name}}}, which does not exist; there are: {}", existing.join(", "))]
    UnknownField {
        /// The name asked for.
        name: String,
        /// The names that exist.
        existing: Vec<String>,
    },
}

impl PromptTemplate {
    /// Reads a template.
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

    /// The text it was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The fields that it asks for, in order, repetitions included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Puts the fields in. A field's own braces are left alone.
    ///
    /// # Errors
    /// [`TemplateError::UnknownField`].
    pub fn render(&self, fields: &Fields) -> Result<String, TemplateError> {
        let mut rendered = String::new();
        for part in &self.parts {
            rendered.push_str(match part {
                Part::Text(text) => text,
                Part::Field(name) => {
                    fields
                        .get(name.as_str())
                        .ok_or_else(|| TemplateError::UnknownField {
                            name: name.clone(),
                            existing: fields.keys().map(ToString::to_string).collect(),
                        })?
                }
            });
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

/// Where the texts of `left` and `right` differ, the common beginning and then the common end taken off: their two
/// ranges, on character boundaries. `None` where they are equal.
pub(crate) fn difference(left: &str, right: &str) -> Option<(Range<usize>, Range<usize>)> {
    let start: usize = left
        .chars()
        .zip(right.chars())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum();
    let (left_rest, right_rest) = (&left[start..], &right[start..]);
    if left_rest.is_empty() && right_rest.is_empty() {
        return None;
    }
    let backwards = left_rest.chars().rev().zip(right_rest.chars().rev());
    let end: usize = backwards
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum();
    Some((start..left.len() - end, start..right.len() - end))
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

    #[test]
    fn differences_keep_to_characters() {
        assert_eq!(difference("xAy", "xBy"), Some((1..2, 1..2)));
        assert_eq!(difference("é", "è"), Some((0..2, 0..2)));
        assert_eq!(difference("aa", "aaa"), Some((2..2, 2..3)));
        assert_eq!(difference("same", "same"), None);
    }
}
