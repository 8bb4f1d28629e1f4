//! How a data set writes which option is right.

use plw_batch::option_letter;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{printed, wrong_type};
use crate::rows::{Problem, Refusal};

/// How an answer names its option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerStyle {
    /// By its letter: `A` is the first.
    Letter,
    /// By its number: 0 is the first.
    #[serde(rename = "number-from-0")]
    NumberFrom0,
    /// By its number: 1 is the first.
    #[serde(rename = "number-from-1")]
    NumberFrom1,
    /// By its text.
    Text,
}

impl AnswerStyle {
    /// Every style.
    pub const ALL: [Self; 4] = [
        Self::Letter,
        Self::NumberFrom0,
        Self::NumberFrom1,
        Self::Text,
    ];

    /// Whether answers are numbers.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::NumberFrom0 | Self::NumberFrom1)
    }

    /// The index of the option that an answer names.
    pub(crate) fn index(
        self,
        answer: &Value,
        column: &str,
        options: &[String],
    ) -> Result<usize, Refusal> {
        let shown = printed(answer).ok_or_else(|| wrong_type(column, answer, "text"))?;
        if shown.trim().is_empty() {
            return Err(Refusal::new(column, Problem::Empty));
        }
        let is_number = answer.is_number() || shown.trim().parse::<u64>().is_ok();
        if self == Self::Letter && is_number && !options.contains(&shown) {
            return Err(Refusal {
                found: format!(
                    " ({shown}): say so with answer_style = \"number-from-0\" or \"number-from-1\""
                ),
                ..Refusal::new(column, Problem::UnclearNumber)
            });
        }
        let index = match self {
            Self::Letter => letter_index(&shown, options.len()),
            Self::NumberFrom0 => number(answer, &shown),
            Self::NumberFrom1 => number(answer, &shown).and_then(|number| number.checked_sub(1)),
            Self::Text => options.iter().position(|option| *option == shown),
        };
        let index = index.filter(|&index| index < options.len());
        index.ok_or_else(|| self.refusal(&shown, column, options))
    }

    fn refusal(self, shown: &str, column: &str, options: &[String]) -> Refusal {
        let start: String = shown.chars().take(40).collect();
        let last = options.len() - 1;
        let is_letter = letter_index(shown, options.len()).is_some();
        let is_text = options.iter().any(|option| option == shown);
        let expected = match self {
            Self::Letter | Self::NumberFrom0 | Self::NumberFrom1 if is_text => {
                "the text of an option: say so with answer_style = \"text\"".to_owned()
            }
            Self::NumberFrom0 | Self::NumberFrom1 if is_letter => {
                "the letter of an option: say so with answer_style = \"letter\"".to_owned()
            }
            Self::Letter => format!("the letters are A to {}", option_letter(last)),
            Self::NumberFrom0 => format!("the numbers are 0 to {last}"),
            Self::NumberFrom1 => format!("the numbers are 1 to {}", last + 1),
            Self::Text => "it should be the text of an option".to_owned(),
        };
        Refusal {
            found: format!(" (it is {start:?}; {expected})"),
            ..Refusal::new(column, Problem::NoSuchOption)
        }
    }
}

/// The number that an answer is. Programs write whole numbers with a point where others are
/// missing.
fn number(answer: &Value, shown: &str) -> Option<usize> {
    let whole = answer
        .as_f64()
        .filter(|number| number.fract() == 0.0 && *number >= 0.0);
    whole.map_or_else(|| shown.trim().parse().ok(), |number| Some(number as usize))
}

/// The index of the option whose letter `answer` is.
fn letter_index(answer: &str, options: usize) -> Option<usize> {
    (0..options).find(|&option| answer.chars().eq([option_letter(option)]))
}
