//! Rows as multiple-choice questions.

use plw_batch::option_letter;
use serde_json::Value;

use super::answer_style::AnswerStyle;
use super::column_names::is_blank;
use super::example::Question;
use super::fields::{
    list, object, optional_text, printed, printed_columns, required, required_text, text,
};
use super::identity::Identity;
use super::shape::Shape;
use crate::rows::{Columns, Problem, Refusal};

/// Where a question's parts are.
struct Parts {
    article: &'static str,
    question: &'static str,
    options: Options,
    answer: &'static str,
    style: AnswerStyle,
}

/// Where its options are.
#[derive(Clone, Copy)]
enum Options {
    /// In a column of lists.
    List(&'static str),
    /// In an object of `text` and `label`; the answer is a label.
    Labeled(&'static str),
    /// In the columns `A`, `B` and so on.
    Letters,
    /// In the columns of the right answer and of three distractors, in alphabetical order.
    Distractors,
}

impl Shape {
    fn parts(self) -> Option<Parts> {
        let of = |question, options, answer, style| {
            Some(Parts {
                article: "article",
                question,
                options,
                answer,
                style,
            })
        };
        match self {
            Self::Race | Self::Options => {
                let options = Options::List("options");
                of("question", options, "answer", AnswerStyle::Letter)
            }
            Self::LabeledChoices => {
                let options = Options::Labeled("choices");
                of("question", options, "answerKey", AnswerStyle::Text)
            }
            Self::LabeledStem => {
                let options = Options::Labeled("choices");
                of("question_stem", options, "answerKey", AnswerStyle::Text)
            }
            Self::QueryChoicesGold => {
                let options = Options::List("choices");
                of("query", options, "gold", AnswerStyle::NumberFrom0)
            }
            Self::Mmlu => {
                let options = Options::List("choices");
                of("question", options, "answer", AnswerStyle::NumberFrom0)
            }
            Self::SciQ => Some(Parts {
                article: "support",
                question: "question",
                options: Options::Distractors,
                answer: "correct_answer",
                style: AnswerStyle::Text,
            }),
            Self::Dream => Some(Parts {
                article: "dialogue",
                question: "question",
                options: Options::List("choice"),
                answer: "answer",
                style: AnswerStyle::Text,
            }),
            Self::LetterColumns => of("question", Options::Letters, "answer", AnswerStyle::Letter),
            _ => None,
        }
    }

    /// Whether rows are multiple-choice questions.
    pub(crate) fn is_question(self) -> bool {
        self.parts().is_some()
    }

    /// The columns of a question that must be text, and that of its list of options.
    pub(crate) fn typed_columns(self, style: Option<AnswerStyle>) -> TypedColumns {
        let Some(parts) = self.parts() else {
            return TypedColumns::default();
        };
        let is_number = style.unwrap_or(parts.style).is_number();
        let is_letter = style.unwrap_or(parts.style) == AnswerStyle::Letter;
        let answer = match is_letter {
            true => TEXT_OR_NUMBERS,
            false => "text",
        };
        TypedColumns {
            text: match is_number {
                true => vec![(parts.question, "text")],
                false => vec![(parts.question, "text"), (parts.answer, answer)],
            },
            list: match parts.options {
                Options::List(column) => Some(column),
                _ => None,
            },
        }
    }
}

/// What answers may be that are letters unless a setting says otherwise.
const TEXT_OR_NUMBERS: &str =
    "text, or numbers with answer_style = \"number-from-0\" or \"number-from-1\"";

/// Columns of a table whose types can be checked before any row is read.
#[derive(Default)]
pub(crate) struct TypedColumns {
    /// Those of text, and what they should be in words.
    pub(crate) text: Vec<(&'static str, &'static str)>,
    pub(crate) list: Option<&'static str>,
}

/// A row as a question. `style` is how answers are written, if not as in this shape.
pub(crate) fn question(
    shape: Shape,
    columns: &Columns,
    identity: Identity,
    style: Option<AnswerStyle>,
) -> Result<Question, Refusal> {
    let parts = shape.parts().expect("the shape is that of a question");
    let article = passage(columns, parts.article, shape)?;
    let question = required_text(columns, parts.question)?;
    let Choices { texts, answers } = choices(columns, parts.options)?;
    let answer = required(columns, parts.answer)?;
    let style = style.unwrap_or(parts.style);
    let answer = style.index(answer, parts.answer, answers.as_ref().unwrap_or(&texts))?;
    let mut own = vec![parts.question, parts.answer, parts.article, "example_id"];
    own.extend(["question", "options", "article", "answer", "level"]);
    Ok(Question {
        file: identity.file,
        row: identity.row,
        example_id: identity.example_id,
        level: identity.level,
        article,
        question,
        options: texts,
        answer,
        columns: printed_columns(columns, &own),
    })
}

/// The passage, which may be a list of lines.
fn passage(columns: &Columns, name: &str, shape: Shape) -> Result<Option<String>, Refusal> {
    match columns.get(name) {
        Some(Value::Array(lines)) => {
            let lines: Result<Vec<&str>, Refusal> =
                lines.iter().map(|line| text(line, name)).collect();
            Ok(Some(lines?.join("\n")))
        }
        _ if shape == Shape::Race => required_text(columns, name).map(Some),
        _ => Ok(optional_text(columns, name)?.map(str::to_owned)),
    }
}

/// The options of a question.
struct Choices {
    texts: Vec<String>,
    /// What the answer says in place of their texts.
    answers: Option<Vec<String>>,
}

fn choices(columns: &Columns, options: Options) -> Result<Choices, Refusal> {
    let unlabeled = |texts| Choices {
        texts,
        answers: None,
    };
    match options {
        Options::List(name) => {
            let texts = option_texts(list(required(columns, name)?, name)?, name)?;
            Ok(unlabeled(texts))
        }
        Options::Labeled(name) => {
            let choices = object(required(columns, name)?, name)?;
            let part = |part: &str| list(required(choices, part)?, part);
            let texts = option_texts(part("text")?, name)?;
            let labels: Vec<String> = part("label")?.iter().filter_map(printed).collect();
            if labels.len() != texts.len() {
                return Err(Refusal {
                    found: format!(" (it holds {} labels for {})", labels.len(), texts.len()),
                    ..Refusal::new(name, Problem::OptionCount)
                });
            }
            Ok(Choices {
                texts,
                answers: Some(labels),
            })
        }
        Options::Letters => {
            let letters = (0..26).map(|option| option_letter(option).to_string());
            let mut values: Vec<Value> = letters
                .map_while(|letter| columns.get(&letter).cloned())
                .collect();
            // A question of fewer options leaves the last columns blank.
            while values.len() > 2 && values.last().is_some_and(is_blank) {
                values.pop();
            }
            Ok(unlabeled(option_texts(&values, "A")?))
        }
        Options::Distractors => {
            let names = [
                "distractor1",
                "distractor2",
                "distractor3",
                "correct_answer",
            ];
            let texts = names.map(|name| required_text(columns, name));
            let mut texts = texts
                .into_iter()
                .collect::<Result<Vec<String>, Refusal>>()?;
            texts.sort_unstable();
            Ok(unlabeled(texts))
        }
    }
}

/// The texts of options: 2 to 26, none of them blank.
fn option_texts(options: &[Value], name: &str) -> Result<Vec<String>, Refusal> {
    let count = options.len();
    if !(2..=26).contains(&count) {
        return Err(Refusal {
            found: format!(" (it holds {count})"),
            ..Refusal::new(name, Problem::OptionCount)
        });
    }
    let option = |(index, option): (usize, &Value)| {
        if is_blank(option) {
            return Err(Refusal {
                found: format!(" ({})", option_letter(index)),
                ..Refusal::new(name, Problem::EmptyOption)
            });
        }
        // Options may be numbers.
        printed(option).ok_or_else(|| super::fields::wrong_type(name, option, "text"))
    };
    options.iter().enumerate().map(option).collect()
}
